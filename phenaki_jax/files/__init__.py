"""Atomic writes, a directory lock, digests and paths; none of it needs JAX."""
