"""Text to embeddings: a SentencePiece vocabulary and a T5 encoder."""
