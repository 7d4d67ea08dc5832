"""Joins data, augmentation and models: state, step, loop, checkpoints, records."""
