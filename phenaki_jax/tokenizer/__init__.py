"""C-ViViT: a causal tokenizer between pixels and a grid of token ids."""
