"""The systems that are compared: for each task a function that gets ready and returns the work.

A task is `task(variant, **options) -> (work, unit, packages)`: `work()` does one round and returns
how much it did, `unit` is what amount per second is called, `packages` are named with versions.
"""
