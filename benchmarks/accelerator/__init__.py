"""Checks and timings of one accelerator; see `benchmarks/gpu.py`."""
