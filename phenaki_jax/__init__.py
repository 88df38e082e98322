"""Tell stories as video: C-ViViT, a masked transformer, and a sampler.

The command line is `phenaki` (or `python -m phenaki_jax`). Import the parts
you need; this package itself loads nothing, so that it stays quick to import.
"""

__version__ = '0.1.0'
