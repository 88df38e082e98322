"""Arithmetic, memory and chips of a run, before anything is allocated."""
