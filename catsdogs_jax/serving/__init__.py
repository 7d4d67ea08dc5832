"""A trained model behind HTTP: what it answers, in batches, with limits, and a page to try it."""
