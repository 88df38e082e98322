"""The reader: a network that reads the facts of the sprite world in frames."""
