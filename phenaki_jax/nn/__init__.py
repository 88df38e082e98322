"""Layers that the tokenizer and the generator share."""
