"""Pictures to batches. Knows files; knows nothing of models."""
