"""Injects faults into runs and checks that each ends with the bits of one that met none."""
