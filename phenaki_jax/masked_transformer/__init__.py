"""The generator: a bidirectional transformer that fills in hidden tokens."""
