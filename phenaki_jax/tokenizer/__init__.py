"""C-ViViT: pixels to a grid of token ids and back, causally in time."""
