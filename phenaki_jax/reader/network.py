"""A small convolutional network from frames to the labels of facts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from phenaki_jax.lpc.labels import NUM_CLASSES
from phenaki_jax.nn.layers import Dense, RMSNorm
from phenaki_jax.pixels import normalise
from phenaki_jax.reader.config import ReaderConfig


def _neighbourhoods(x: Float[Array, 'B h w D']) -> Float[Array, 'B h w I']:
  """Return the 3x3 neighbourhood of each position, so that a `Dense` layer is
  a convolution; the gradient of a matrix product is faster on a CPU."""
  _, h, w, _ = x.shape
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  shifts = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
  return jnp.concatenate(shifts, -1)


def _blocks(x: Float[Array, 'B H W D']) -> Float[Array, 'B h w I']:
  """Halve height and width: each block of 2x2 positions becomes one."""
  b, h, w, d = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, d)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * d)


def _dense(name: str, width: int, x: Array, hidden: bool = True) -> Array:
  names = (None, 'embed')
  return Dense(width, names, use_bias=True, hidden=hidden, name=name)(x)


def _features(
  config: ReaderConfig, pixels: UInt8[Array, 'B H W 3']
) -> Float[Array, 'B features']:
  """Return what is known of each frame; the layers are the calling module's."""
  first, second, third = config.widths

  def residual(name: str, x: Array) -> Array:
    y = RMSNorm(name=f'norm_{name}')(x)
    return x + nn.gelu(_dense(name, x.shape[-1], _neighbourhoods(y)))

  x = _neighbourhoods(_blocks(normalise(pixels)))
  x = nn.gelu(_dense('stem', first, x))
  x = _dense('reduce_0', second, _blocks(x))
  for layer in range(config.depth - 1):
    x = residual(f'quarter_{layer}', x)
  x = _dense('reduce_1', third, _blocks(x))
  for layer in range(config.depth):
    x = residual(f'eighth_{layer}', x)
  x = RMSNorm(name='norm')(x)
  x = jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)
  return nn.gelu(_dense('features', config.features, x))


class FrameReader(nn.Module):
  """Read single frames.

  It returns, for each frame, the logits of all facts one after another, and
  one weight for each fact: the logarithm of the frame's share in the reading
  of its clip.
  """

  config: ReaderConfig

  @nn.compact
  def __call__(
    self, pixels: UInt8[Array, 'B H W 3']
  ) -> tuple[Float[Array, 'B classes'], Float[Array, 'B facts']]:
    """Return the logits and the weights of frames of the configured side."""
    x = _features(self.config, pixels)
    logits = _dense('logits', sum(NUM_CLASSES.values()), x, hidden=False)
    weights = _dense('weights', len(NUM_CLASSES), x, hidden=False)
    return logits, weights


class CharacterNetwork(nn.Module):
  """Find which characters single frames show.

  Attributes:
    config: the shape, that of the reader.
    characters: how many there are.
  """

  config: ReaderConfig
  characters: int

  @nn.compact
  def __call__(
    self, pixels: UInt8[Array, 'B H W 3']
  ) -> Float[Array, 'B characters']:
    """Return the logit of each character in frames of the configured side."""
    x = _features(self.config, pixels)
    return _dense('characters', self.characters, x, hidden=False)


def split_facts(logits: Float[Array, '*b classes']) -> dict[str, Array]:
  """Return the logits of each fact by name."""
  parts, start = {}, 0
  for name, count in NUM_CLASSES.items():
    parts[name] = logits[..., start : start + count]
    start += count
  return parts


def join_frames(
  logits: Float[Array, 'B T classes'], weights: Float[Array, 'B T facts']
) -> dict[str, Array]:
  """Average the logits of the frames of each clip by their weights.

  Returns:
    The logits of each fact, [B, classes of the fact].
  """
  share = jax.nn.softmax(weights, axis=1)
  return {
    name: (part * share[..., index, None]).sum(1)
    for index, (name, part) in enumerate(split_facts(logits).items())
  }
