"""Training runs and trained models: assemble, train, open, evaluate, export."""
