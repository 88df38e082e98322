"""Measure models, and write what they make so that people can look at it."""
