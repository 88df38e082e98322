"""The two sides of `versus_phenaki_pytorch.py`, each in its own process."""
