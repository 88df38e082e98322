"""The letters that name dimensions, and the aliases that every layer shares.

Public functions state their shapes with jaxtyping, in the long form
(`Float[Array, 'B T H W C']`), with the letters of `AXES`. The same letters
name the layout of a tensor inside a body (`q_BNKd`) and the indices of an
einsum (`'BND,DKd->BNKd'`). `axis` always means an axis of the mesh, `dim` a
dimension of a tensor.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

AXES: Mapping[str, str] = {
  'b': 'any leading dimensions, always as `*b`',
  'r': 'any remaining dimensions, always as `*r`',
  'B': 'batch, in examples',
  'R': 'rows, each a clip or several packed images',
  'T': 'frames',
  'H': 'height, in pixels',
  'W': 'width, in pixels',
  'C': 'colour channels',
  't': 'latent frames, 1 + (T - 1) / tubelet',
  'h': 'latent rows',
  'w': 'latent columns',
  'n': 'tokens of one latent frame, h * w',
  'N': 'tokens, t * h * w',
  'P': 'values of one patch',
  'p': 'angles of a position',
  'Q': 'queries of an attention',
  'M': 'keys and values of an attention, its memory',
  'D': 'width of a model',
  'K': 'heads',
  'd': 'width of one head',
  'I': 'width of an input',
  'O': 'width of an output',
  'F': 'width of the hidden layer of an MLP',
  'V': 'entries of the codebook',
  'L': 'text tokens',
  'E': 'width of a text embedding',
  'S': 'distinct texts of a batch',
}
"""What each letter of a shape stands for."""

Params: TypeAlias = Mapping[str, Any]
"""Parameters: plain nested dicts, unboxed."""

VideoU8: TypeAlias = UInt8[np.ndarray, 'T H W 3']
"""One clip as the loader and the writers know it: RGB, 0 to 255."""

ImageU8: TypeAlias = UInt8[np.ndarray, 'H W 3']
"""One image as the loader and the writers know it: RGB, 0 to 255."""
