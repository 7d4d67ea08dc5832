"""Pictures to batches. Knows files and TensorFlow; knows nothing of models."""
