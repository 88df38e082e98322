"""Sampling: masked decoding with guidance, from prompts to clips."""
