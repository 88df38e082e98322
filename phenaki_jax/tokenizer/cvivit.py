"""C-ViViT, the causal video tokenizer (Phenaki, section 2.1).

Frames become patches (the first frame apart, unless it is repeated to a whole
tubelet), patches attend inside their latent step, then each position attends
over time, only to the past. The decoder mirrors this. Since nothing ever looks
ahead, an image is a one-frame video, a prefix of a video has the tokens of the
prefix alone, and padding frames at the end change nothing before them.
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
from phenaki_jax.tokenizer.patches import cut, join
from phenaki_jax.tokenizer.quantizers import FSQ, VQ, Quantized


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class TokenizerOutput:
  """What the tokenizer makes of a clip.

  Attributes:
    reconstruction: the clip as decoded from its tokens, about -1 to 1.
    ids: its tokens.
    quantizer_loss: the quantizer's own loss of each token.
  """

  reconstruction: Float[Array, 'B T H W C']
  ids: Int[Array, 'B t h w']
  quantizer_loss: Float[Array, 'B t h w']


class SpaceTime(nn.Module):
  """Two stacks: inside each latent step, and causally over the steps.

  Attributes:
    config: the tokenizer's shape.
    spatial_layers: blocks inside a latent step.
    time_first: apply the stack over time first, as the decoder does.
    places: tell the stacks where in the frame each patch lies.
  """

  config: TokenizerConfig
  spatial_layers: int
  time_first: bool = False
  places: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, 'B t h w D']) -> Float[Array, 'B t h w D']:
    """Return the tokens after both stacks and a norm."""
    config = self.config
    batch, t, h, w, width = x.shape
    if self.places:
      # One output layer for all steps needs no number of the step, and what it
      # learns of images it then knows of every step.
      tells_steps = config.first_frame == 'apart'
      place = Dense(width, (None, 'embed'), hidden=False, name='place')(
        jnp.asarray(absolute_features(t, h, w, time=tells_steps))
      )
      x = x + place.reshape(1, t, h, w, width)
    x = constrain(x, 'batch', 'frames', None, None, None)
    head_dim = width // config.num_heads
    grid = grid_coordinates(t, h, w)
    shape = {
      'num_heads': config.num_heads,
      'head_dim': head_dim,
      'mlp_dim': config.mlp_dim,
      'scan': config.scan,
      'remat': config.remat,
      'dtype': jnp.dtype(config.dtype),
    }
    space = Stack(self.spatial_layers, **shape, name='space')
    time = Stack(config.temporal_layers, **shape, name='time')
    past = jnp.tril(jnp.ones((t, t), bool))[None]

    def over_space(x: Array) -> Array:
      angles = jnp.asarray(rotary_angles(grid[: h * w, 1:], head_dim))
      x = x.reshape(batch * t, h * w, width)
      return space(x, angles=angles).reshape(batch, t, h, w, width)

    def over_time(x: Array) -> Array:
      angles = jnp.asarray(rotary_angles(grid[:: h * w, :1], head_dim))
      x = x.transpose(0, 2, 3, 1, 4).reshape(batch * h * w, t, width)
      x = time(x, mask=past, angles=angles)
      return x.reshape(batch, h, w, t, width).transpose(0, 3, 1, 2, 4)

    x = (
      over_space(over_time(x))
      if self.time_first
      else (over_time(over_space(x)))
    )
    return RMSNorm(name='norm')(x)


class CViViT(nn.Module):
  """Encode clips of 1 + k * tubelet frames to token ids and decode them.

  Pixels are float32 in [-1, 1], RGB; any length of that form, any grid that
  the patch divides, square or not.
  """

  config: TokenizerConfig

  def setup(self) -> None:
    """Create the encoder, the quantizer and the decoder."""
    config = self.config
    area = config.patch[0] * config.patch[1] * 3
    dtype = jnp.dtype(config.dtype)
    into = {'features': config.width, 'names': (None, 'embed')}
    self.first_in = Dense(**into, use_bias=True, dtype=dtype)
    self.rest_in = Dense(**into, use_bias=True, dtype=dtype)
    own = config.encoder_spatial_layers
    layers = config.spatial_layers if own is None else own
    # A patch that sees no other has no use for its place.
    self.encoder = SpaceTime(config, layers, places=layers > 0)
    if config.quantizer == 'fsq':
      self.quantizer = FSQ(config.fsq_levels, config.width)
    else:
      self.quantizer = VQ(
        config.vq_codes, config.vq_dim, config.width, config.commitment
      )
    self.decoder = SpaceTime(config, config.spatial_layers, time_first=True)
    # Heads mirror the patching. No activation: section 2.1.
    out = {'names': ('embed', None), 'use_bias': True, 'hidden': False}
    self.first_out = Dense(area, **out)
    self.rest_out = Dense(area * config.tubelet, **out)

  def _quantize(self, pixels: Float[Array, 'B T H W C']) -> Quantized:
    _, frames, height, width, _ = pixels.shape
    self.config.grid(frames, (height, width))
    return self.quantizer(self.encoder(self._patches(pixels)))

  def _patches(
    self, pixels: Float[Array, 'B T H W C']
  ) -> Float[Array, 'B t h w D']:
    """Embed the patches of a clip."""
    config = self.config
    if config.first_frame == 'repeated':
      before = jnp.repeat(pixels[:, :1], config.tubelet - 1, axis=1)
      pixels = jnp.concatenate([before, pixels], axis=1)
      return self.rest_in(cut(pixels, config.tubelet, config.patch))
    first = self.first_in(cut(pixels[:, :1], 1, config.patch))
    if pixels.shape[1] > 1:
      rest = pixels[:, 1:]
    elif self.is_initializing():
      # Both embeddings exist whatever the first clip's length.
      rest = jnp.repeat(pixels, config.tubelet, axis=1)
    else:
      return first
    rest = self.rest_in(cut(rest, config.tubelet, config.patch))
    if pixels.shape[1] == 1:
      return first
    return jnp.concatenate([first, rest], axis=1)

  def _pixels(
    self, vectors: Float[Array, 'B t h w D']
  ) -> Float[Array, 'B T H W C']:
    config = self.config
    x = self.decoder(vectors.astype(jnp.dtype(config.dtype)))
    x = x.astype(jnp.float32)
    if config.first_frame == 'repeated':
      pixels = join(self.rest_out(x), config.tubelet, config.patch)
      return pixels[:, config.tubelet - 1 :]
    first = join(self.first_out(x[:, :1]), 1, config.patch)
    if x.shape[1] == 1 and not self.is_initializing():
      return first
    rest = self.rest_out(x[:, 1:] if x.shape[1] > 1 else x)
    rest = join(rest, config.tubelet, config.patch)
    if x.shape[1] == 1:
      return first
    return jnp.concatenate([first, rest], axis=1)

  def __call__(self, pixels: Float[Array, 'B T H W C']) -> TokenizerOutput:
    """Encode, quantize and decode a clip.

    Raises:
      ValueError: the patch or the tubelet does not divide the clip.
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
      ValueError: the patch or the tubelet does not divide the clip.
    """
    return self._quantize(pixels).ids

  def decode(self, ids: Int[Array, 'B t h w']) -> Float[Array, 'B T H W C']:
    """Return the pixels of token ids, about -1 to 1."""
    return self._pixels(self.quantizer.lookup(ids))
