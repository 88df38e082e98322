"""Terms of the tokenizer's loss (Phenaki, equation 5) and their weights.

The loss is a weighted sum of named terms. Each term is a pure function of the
clip and its reconstruction. A weight of 0 removes a term.
"""

from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import NonNegativeFloat

from phenaki_jax.config import validated


@validated
class TokenizerLossWeights:
  """The weight of each term of the tokenizer's loss; 0 removes a term.

  Attributes:
    l2: squared error of pixels (paper: 1).
    l1: absolute error of pixels (not in the paper).
    edge: absolute error of the differences between neighbouring pixels,
      which rewards sharp outlines (not in the paper).
    quantizer: the quantizer's own loss (paper: 1).
  """

  l2: NonNegativeFloat = 1.0
  l1: NonNegativeFloat = 0.0
  edge: NonNegativeFloat = 0.0
  quantizer: NonNegativeFloat = 1.0


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class PixelErrors:
  """Errors of each frame, averaged over pixels and channels.

  Attributes:
    l2: squared error.
    l1: absolute error.
    edge: absolute error of the differences between neighbouring pixels, mean of
      the vertical and the horizontal ones.
  """

  l2: Float[Array, 'B T']
  l1: Float[Array, 'B T']
  edge: Float[Array, 'B T']


def pixel_errors(
  target: Float[Array, 'B T H W C'], output: Float[Array, 'B T H W C']
) -> PixelErrors:
  """Compute the errors of each frame of clips with values in [-1, 1]."""
  error = output - target
  frame = (2, 3, 4)
  down = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean(frame)
  across = jnp.abs(error[:, :, :, 1:] - error[:, :, :, :-1]).mean(frame)
  return PixelErrors(
    l2=(error * error).mean(frame),
    l1=jnp.abs(error).mean(frame),
    edge=0.5 * (down + across),
  )


def frame_mask(num_frames: Int[Array, 'B'], frames: int) -> Bool[Array, 'B T']:
  """Return True at the first `num_frames` frames, False at padding."""
  return jnp.arange(frames)[None, :] < num_frames[:, None]
