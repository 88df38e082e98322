"""Bring captioned images and clips to the models, the same on every run.

Sources are read once into a manifest, the mixture fixes what a batch is made
of, and the pipeline hands out the batch of a step as a pure function of the
config, the manifest and the step. Nothing here knows jax.
"""
