"""Hand trained models to others, in forms that run no code when read."""
