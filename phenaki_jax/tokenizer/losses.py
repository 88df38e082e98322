"""Terms of the tokenizer's loss (Phenaki, equation 5) and their weights.

The loss is a weighted sum of named terms:

  L = L_VQ + 0.1 L_adversarial + 0.1 L_image + 1.0 L_video + 1.0 L_2

and further terms that are not in the paper. Each term is a pure function of
the clip and its reconstruction. The terms of pixels are here, the adversarial
ones in `adversarial`, and the perceptual ones in `perceptual.distances`. A
weight of 0 removes a term and changes no other.
"""

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import NonNegativeFloat, NonNegativeInt

from phenaki_jax.config import validated
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.tokenizer.adversarial import AdversaryConfig

_WINDOW = 5  # side of the window of the local contrast, in pixels
_FLOOR = 0.1  # contrast that is added, so that flat areas count as well


@validated
class CodebookConfig:
  """What keeps the codes of VQ in use; other quantizers ignore it.

  Attributes:
    kmeans: start the codebook as clusters of the first batch.
    revive_after: steps without use after which a code is replaced by a vector
      of the batch; 0 never replaces one.
  """

  kmeans: bool = False
  revive_after: NonNegativeInt = 0


@validated
class TokenizerLossWeights:
  """The weight of each term of the tokenizer's loss; 0 removes a term.

  Attributes:
    l2: squared error of pixels (paper: 1).
    l1: absolute error of pixels (not in the paper).
    edge: absolute error of the differences between neighbouring pixels,
      which rewards sharp outlines (not in the paper).
    detail: squared error of pixels, weighted by `detail_weights`, so that
      small detailed objects count more than flat ground (not in the paper).
    quantizer: the quantizer's own loss (paper: 1).
    adversarial: the reconstructions' scores by a discriminator (paper: 0.1).
    image_perceptual: distance of the features of frames (paper: 0.1).
    video_perceptual: distance of the features of clips (paper: 1).
    adversary: the discriminator.
    networks: the networks of the perceptual terms.
    codebook: what keeps the codes of VQ in use.
  """

  l2: NonNegativeFloat = 1.0
  l1: NonNegativeFloat = 0.0
  edge: NonNegativeFloat = 0.0
  detail: NonNegativeFloat = 0.0
  quantizer: NonNegativeFloat = 1.0
  adversarial: NonNegativeFloat = 0.0
  image_perceptual: NonNegativeFloat = 0.0
  video_perceptual: NonNegativeFloat = 0.0
  adversary: AdversaryConfig = AdversaryConfig()
  networks: PerceptualConfig = PerceptualConfig()
  codebook: CodebookConfig = CodebookConfig()


# The weights of Phenaki's equation 5.
PAPER: dict[str, float] = {
  'l2': 1.0,
  'quantizer': 1.0,
  'adversarial': 0.1,
  'image_perceptual': 0.1,
  'video_perceptual': 1.0,
}


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
    detail: squared error, weighted by `detail_weights`.
  """

  l2: Float[Array, 'B T']
  l1: Float[Array, 'B T']
  edge: Float[Array, 'B T']
  detail: Float[Array, 'B T']


def pixel_errors(
  target: Float[Array, 'B T H W C'], output: Float[Array, 'B T H W C']
) -> PixelErrors:
  """Compute the errors of each frame of clips with values in [-1, 1]."""
  error = output - target
  squared = error * error
  frame = (2, 3, 4)
  down = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean(frame)
  across = jnp.abs(error[:, :, :, 1:] - error[:, :, :, :-1]).mean(frame)
  return PixelErrors(
    l2=squared.mean(frame),
    l1=jnp.abs(error).mean(frame),
    edge=0.5 * (down + across),
    detail=(squared * detail_weights(target)).mean(frame),
  )


def detail_weights(
  target: Float[Array, 'B T H W C'],
) -> Float[Array, 'B T H W 1']:
  """Compute weights of pixels that grow with the local contrast.

  The weight of pixel p of a frame is

    w(p) = (s(p) + 0.1) / mean over q of (s(q) + 0.1),

  where s(p) is the standard deviation of the target in the 5x5 window around
  p, averaged over channels. At the borders the window holds only the pixels
  of the frame. The weights have mean 1 in every frame and no gradient.

  Args:
    target: clips with values in [-1, 1].
  """
  target = jax.lax.stop_gradient(target)
  variance = _window_mean(target**2) - _window_mean(target) ** 2
  contrast = jnp.sqrt(jnp.maximum(variance, 0.0)).mean(-1, keepdims=True)
  weights = contrast + _FLOOR
  return weights / weights.mean((2, 3), keepdims=True)


def _window_mean(x: Float[Array, 'B T H W C']) -> Float[Array, 'B T H W C']:
  """Return the mean of the window around each pixel, inside the frame."""

  def total(x: Array) -> Array:
    for window in ((1, 1, _WINDOW, 1, 1), (1, 1, 1, _WINDOW, 1)):
      x = jax.lax.reduce_window(
        x, 0.0, jax.lax.add, window, (1, 1, 1, 1, 1), 'SAME'
      )
    return x

  return total(x) / total(jnp.ones_like(x[:1, :1, :, :, :1]))


def frame_mask(num_frames: Int[Array, 'B'], frames: int) -> Bool[Array, 'B T']:
  """Return True at the first `num_frames` frames, False at padding."""
  return jnp.arange(frames)[None, :] < num_frames[:, None]


def repeat_last(
  pixels: Float[Array, 'B T H W C'], num_frames: Int[Array, 'B']
) -> Float[Array, 'B T H W C']:
  """Replace padding frames by the last real frame.

  Terms that look at several frames at once then do not depend on the content
  of the padding.
  """
  frames = jnp.minimum(
    jnp.arange(pixels.shape[1])[None], num_frames[:, None] - 1
  )
  return jnp.take_along_axis(pixels, frames[:, :, None, None, None], axis=1)
