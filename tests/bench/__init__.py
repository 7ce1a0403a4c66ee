"""Benchmarks: figures, not assertions. `python -m tests.bench` prints them."""
