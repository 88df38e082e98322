"""C-ViViT, the causal video tokenizer (Phenaki, section 2.1).

The first frame is cut into patches and the following frames into tubelets.
Spatial layers attend within each latent frame; then temporal layers attend,
at each patch position, to the current and earlier latent frames. The decoder
mirrors the encoder. Because no layer looks ahead, an image is a one-frame
video, the tokens of the first frames do not depend on later frames, and
padding frames at the end change nothing before them.
"""

from typing import Any, no_type_check

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.nn.patches import patchify, unpatchify
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.quantizers import FSQ, LFQ, VQ, Quantized
from phenaki_jax.tokenizer.space_time import SpaceTime, Span


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class TokenizerOutput:
  """A clip after encoding, quantizing and decoding.

  Attributes:
    reconstruction: the decoded clip, approximately in [-1, 1].
    ids: the token ids.
    quantizer_loss: the quantizer's loss for each token.
  """

  reconstruction: Float[Array, 'B T H W C']
  ids: Int[Array, 'B t h w']
  quantizer_loss: Float[Array, 'B t h w']


class CViViT(nn.Module):
  """Encode clips of 1 + k * tubelet frames as token ids and decode them.

  Pixels are float32 RGB in [-1, 1]. Any k and any frame size that the patch
  divides are allowed; frames need not be square.
  """

  config: TokenizerConfig

  def setup(self) -> None:
    """Create the encoder, the quantizer and the decoder."""
    config = self.config
    area = config.patch[0] * config.patch[1] * 3
    embedding = {
      'features': config.width,
      'names': (None, 'embed'),
      'use_bias': True,
      'dtype': jnp.dtype(config.dtype),
    }
    self.first_in = Dense(**embedding)
    self.rest_in = Dense(**embedding)
    layers = config.encoder_spatial_layers
    if layers is None:
      layers = config.spatial_layers
    # With no spatial attention, position features are unnecessary.
    self.encoder = SpaceTime(config, layers, position_features=layers > 0)
    self.quantizer = _make_quantizer(config)
    self.decoder = SpaceTime(config, config.spatial_layers, time_first=True)
    # Linear, without an activation: section 2.1.
    out = {'names': ('embed', None), 'use_bias': True, 'hidden': False}
    self.first_out = Dense(area, **out)
    self.rest_out = Dense(area * config.tubelet, **out)

  def __call__(
    self,
    pixels: Float[Array, 'B T H W C'],
    weights: Float[Array, 'B t'] | None = None,
  ) -> TokenizerOutput:
    """Encode, quantize and decode a clip.

    Args:
      pixels: the clip.
      weights: weight of each latent frame in statistics of the batch, 0 for
        padding; 1 by default.

    Raises:
      UserError: the patch or the tubelet does not divide the clip.
    """
    quantized = self._quantize(pixels, weights)
    return TokenizerOutput(
      reconstruction=self._pixels(quantized.vectors),
      ids=quantized.ids,
      quantizer_loss=quantized.loss,
    )

  def encode(self, pixels: Float[Array, 'B T H W C']) -> Int[Array, 'B t h w']:
    """Return the token ids of a clip.

    Raises:
      UserError: the patch or the tubelet does not divide the clip.
    """
    return self._quantize(pixels).ids

  def decode(self, ids: Int[Array, 'B t h w']) -> Float[Array, 'B T H W C']:
    """Return the pixels of token ids, approximately in [-1, 1]."""
    return self._pixels(self.quantizer.lookup(ids))

  def latents(
    self, pixels: Float[Array, 'B T H W C']
  ) -> Float[Array, 'B t h w I']:
    """Return the continuous latents of a clip, which `encode` rounds."""
    return self.quantizer.project(self.encoder(self._embed(pixels)))

  def decode_latents(
    self, latents: Float[Array, 'B t h w I']
  ) -> Float[Array, 'B T H W C']:
    """Return the pixels of continuous latents, which are rounded first."""
    return self._pixels(self.quantizer.snap(latents))

  def encode_span(
    self, pixels: Float[Array, 'B T H W C'], span: Span, *, is_first: bool
  ) -> Int[Array, 'B t h w']:
    """Return the token ids of consecutive frames of a longer clip.

    Args:
      pixels: whole tubelets; before them the first frame if `is_first`.
      span: of these latent frames.
      is_first: the frames are the first of the clip.
    """
    x = self._embed(pixels, is_first=is_first)
    return self.quantizer(self.encoder(x, span)).ids

  def decode_span(
    self, ids: Int[Array, 'B t h w'], span: Span, *, is_first: bool
  ) -> Float[Array, 'B T H W C']:
    """Return the pixels of consecutive latent frames of a longer clip.

    Args:
      ids: the token ids.
      span: of these latent frames.
      is_first: the latent frames are the first of the clip.
    """
    vectors = self.quantizer.lookup(ids)
    return self._pixels(vectors, span, is_first=is_first)

  def _quantize(
    self,
    pixels: Float[Array, 'B T H W C'],
    weights: Float[Array, 'B t'] | None = None,
  ) -> Quantized:
    _, frames, height, width, _ = pixels.shape
    grid = self.config.grid(
      frames, (height, width)
    )  # raises if it does not fit
    if weights is not None:
      shape = (pixels.shape[0], *grid)
      weights = jnp.broadcast_to(weights[:, :, None, None], shape)
    return self.quantizer(self.encoder(self._embed(pixels)), weights)

  def _embed(
    self, pixels: Float[Array, 'B T H W C'], *, is_first: bool = True
  ) -> Float[Array, 'B t h w D']:
    patch, tubelet = self.config.patch, self.config.tubelet
    if not is_first:
      return self.rest_in(patchify(pixels, tubelet, patch))
    first = pixels[:, :1]
    if self.config.first_frame == 'repeated':
      first = jnp.repeat(first, tubelet - 1, axis=1)
      pixels = jnp.concatenate([first, pixels], axis=1)
      return self.rest_in(patchify(pixels, tubelet, patch))
    # An image has no further frames; call the layer anyway so that its
    # parameters are created.
    first = self.first_in(patchify(first, 1, patch))
    rest = self.rest_in(patchify(pixels[:, 1:], tubelet, patch))
    return jnp.concatenate([first, rest], axis=1)

  def _pixels(
    self,
    vectors: Float[Array, 'B t h w D'],
    span: Span | None = None,
    *,
    is_first: bool = True,
  ) -> Float[Array, 'B T H W C']:
    patch, tubelet = self.config.patch, self.config.tubelet
    x = self.decoder(vectors.astype(jnp.dtype(self.config.dtype)), span)
    x = x.astype(jnp.float32)
    if not is_first:
      return unpatchify(self.rest_out(x), tubelet, patch)
    if self.config.first_frame == 'repeated':
      return unpatchify(self.rest_out(x), tubelet, patch)[:, tubelet - 1 :]
    first = unpatchify(self.first_out(x[:, :1]), 1, patch)
    rest = unpatchify(self.rest_out(x[:, 1:]), tubelet, patch)
    return jnp.concatenate([first, rest], axis=1)


def _make_quantizer(config: TokenizerConfig) -> Any:
  """Return the module of the configured quantizer, a `Quantizer`."""
  if config.quantizer == 'fsq':
    return FSQ(config.fsq_levels, config.width)
  if config.quantizer == 'lfq':
    return LFQ(
      config.lfq_bits, config.width, config.commitment, config.lfq_entropy
    )
  return VQ(config.vq_codes, config.vq_dim, config.width, config.commitment)
