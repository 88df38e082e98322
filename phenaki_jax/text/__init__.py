"""Turn prompts into embeddings: a vocabulary and a T5 encoder."""
