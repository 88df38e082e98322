"""Trained networks whose features measure how alike two pictures look."""
