"""Measures, side by side and on private servers: ``python -m benchmarks --help``, or ``make bench``."""
