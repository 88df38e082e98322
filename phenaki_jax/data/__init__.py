"""Captioned images and clips, loaded deterministically.

`phenaki data build` reads sources once and writes a manifest. The mixture
fixes the composition of a batch. The pipeline returns the batch of a step as
a pure function of the config, the manifests and the step. This package does
not import jax.
"""
