"""Reports of a run: curves, confusion matrices and the flowchart of the model."""
