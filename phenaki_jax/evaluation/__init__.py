"""Measure models, and render what they generate."""
