"""The letters that name dimensions, and shared type aliases.

Public functions annotate their shapes with jaxtyping
(`Float[Array, 'B T H W C']`), using the letters of `AXES`. The same letters
are used in the suffixes of variables (`q_BNKd`) and in einsums
(`'BND,DKd->BNKd'`). `axis` always means a mesh axis, `dim` a dimension of an
array.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8

AXES: Mapping[str, str] = {
  'b': 'any leading dimensions, written `*b`',
  'r': 'any remaining dimensions, written `*r`',
  'B': 'examples of a batch',
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
  'p': 'rotary angles of a position',
  'Q': 'queries of an attention layer',
  'M': 'keys and values of an attention layer',
  'D': 'width of a model',
  'K': 'attention heads',
  'd': 'width of an attention head',
  'I': 'width of an input',
  'O': 'width of an output',
  'F': 'width of the hidden layer of an MLP',
  'V': 'entries of the codebook',
  'L': 'text tokens',
  'E': 'width of a text embedding',
  'S': 'distinct texts of a batch',
}
"""The meaning of each letter in a shape."""

Params: TypeAlias = Mapping[str, Any]
"""Parameters: nested dicts of arrays, without partitioning metadata."""

VideoU8: TypeAlias = UInt8[np.ndarray, 'T H W 3']
"""RGB frames, values 0 to 255."""

Split: TypeAlias = Literal['train', 'heldout', 'all']
"""The examples that are trained on, those that are held out, or both."""

ImageU8: TypeAlias = UInt8[np.ndarray, 'H W 3']
"""An RGB image or frame, values 0 to 255."""
