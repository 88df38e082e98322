"""Runs: what a config describes, assembled, trained, opened again."""
