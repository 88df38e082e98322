"""C-ViViT, the causal video tokenizer (Phenaki, section 2.1).

The first frame is cut into patches and the following frames into tubelets.
Spatial layers attend within each latent frame; then temporal layers attend,
at each patch position, to the current and earlier latent frames. The decoder
mirrors the encoder. Because no layer looks ahead, an image is a one-frame
video, the tokens of the first frames do not depend on later frames, and
padding frames at the end change nothing before them.
"""

from typing import no_type_check

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.blocks import Stack
from phenaki_jax.nn.layers import Dense, RMSNorm
from phenaki_jax.nn.positions import (
  absolute_features,
  grid_coordinates,
  rotary_angles,
)
from phenaki_jax.sharding import constrain
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.patches import patchify, unpatchify
from phenaki_jax.tokenizer.quantizers import FSQ, VQ, Quantized


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
    if config.quantizer == 'fsq':
      self.quantizer = FSQ(config.fsq_levels, config.width)
    else:
      self.quantizer = VQ(
        config.vq_codes, config.vq_dim, config.width, config.commitment
      )
    self.decoder = SpaceTime(config, config.spatial_layers, time_first=True)
    # Linear, without an activation: section 2.1.
    out = {'names': ('embed', None), 'use_bias': True, 'hidden': False}
    self.first_out = Dense(area, **out)
    self.rest_out = Dense(area * config.tubelet, **out)

  def __call__(self, pixels: Float[Array, 'B T H W C']) -> TokenizerOutput:
    """Encode, quantize and decode a clip.

    Raises:
      UserError: the patch or the tubelet does not divide the clip.
    """
    quantized = self._quantize(pixels)
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

  def _quantize(self, pixels: Float[Array, 'B T H W C']) -> Quantized:
    _, frames, height, width, _ = pixels.shape
    self.config.grid(frames, (height, width))  # raises if it does not fit
    return self.quantizer(self.encoder(self._embed(pixels)))

  def _embed(
    self, pixels: Float[Array, 'B T H W C']
  ) -> Float[Array, 'B t h w D']:
    patch, tubelet = self.config.patch, self.config.tubelet
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
    self, vectors: Float[Array, 'B t h w D']
  ) -> Float[Array, 'B T H W C']:
    patch, tubelet = self.config.patch, self.config.tubelet
    x = self.decoder(vectors.astype(jnp.dtype(self.config.dtype)))
    x = x.astype(jnp.float32)
    if self.config.first_frame == 'repeated':
      return unpatchify(self.rest_out(x), tubelet, patch)[:, tubelet - 1 :]
    first = unpatchify(self.first_out(x[:, :1]), 1, patch)
    rest = unpatchify(self.rest_out(x[:, 1:]), tubelet, patch)
    return jnp.concatenate([first, rest], axis=1)


class SpaceTime(nn.Module):
  """Attention within each latent frame, and causal attention over time.

  Attributes:
    config: the tokenizer's sizes.
    spatial_layers: blocks within a latent frame.
    time_first: apply the temporal stack first, as the decoder does.
    position_features: add learned features of each patch's position.
  """

  config: TokenizerConfig
  spatial_layers: int
  time_first: bool = False
  position_features: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, 'B t h w D']) -> Float[Array, 'B t h w D']:
    """Apply both stacks, then a norm."""
    config = self.config
    batch, t, h, w, width = x.shape
    if self.position_features:
      # A repeated first frame is embedded and decoded like all others. Without
      # the time in its features, what is learned from images holds for every
      # latent frame.
      features = absolute_features(t, h, w, time=config.first_frame == 'apart')
      place = Dense(width, (None, 'embed'), hidden=False, name='place')
      added = place(jnp.asarray(features)).reshape(1, t, h, w, width)
      # In the dtype of the computation; the sum would be float32 otherwise.
      x = x + added.astype(x.dtype)
    x = constrain(x, 'batch', 'frames', None, None, None)
    grid = grid_coordinates(t, h, w)
    space = Stack(config, self.spatial_layers, name='space')
    time = Stack(config, config.temporal_layers, name='time')

    def over_space(x: Array) -> Array:
      angles = jnp.asarray(rotary_angles(grid[: h * w, 1:], config.head_dim))
      x = x.reshape(batch * t, h * w, width)
      return space(x, angles=angles).reshape(batch, t, h, w, width)

    def over_time(x: Array) -> Array:
      angles = jnp.asarray(rotary_angles(grid[:: h * w, :1], config.head_dim))
      causal = jnp.tril(jnp.ones((t, t), bool))[None]
      x = x.transpose(0, 2, 3, 1, 4).reshape(batch * h * w, t, width)
      x = time(x, mask=causal, angles=angles)
      return x.reshape(batch, h, w, t, width).transpose(0, 3, 1, 2, 4)

    if self.time_first:
      x = over_space(over_time(x))
    else:
      x = over_time(over_space(x))
    return RMSNorm(name='norm')(x)
