"""Train a generator on clips whose depth is estimated inside the step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.pixels import normalise
from phenaki_jax.training.generator_task import GeneratorTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureTask(GeneratorTask):
  """Train the masked transformer; see `GeneratorTask`.

  Attributes:
    depth_network: estimates depth; its weights are frozen.
  """

  depth_network: PerceptualNetwork

  @property
  def frozen(self) -> Any:
    """Return what a generator has, and the weights of the depth network."""
    return {**super().frozen, 'depth': self.depth_network.params}

  @property
  def bound(self) -> Any:
    """Return what a generator has: it does not need the depth network."""
    return super().frozen

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create what `frozen` returns, boxed with logical names."""
    return {**super().init_frozen(rng), 'depth': self.depth_network.zeros()}

  def tokenized(self, frozen: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Replace pixels by tokens, and add the depth of clips."""
    given, found = dict(frozen), dict(batch)
    params = given.pop('depth')
    if 'clips' in batch:
      clips = batch['clips']
      depth = estimated(
        self.depth_network, params, clips['pixels'], clips['num_frames']
      )
      found['clips'] = {**clips, 'depth': depth}
    return super().tokenized(given, found)


def estimated(
  network: PerceptualNetwork,
  params: Any,
  pixels: UInt8[Array, 'B T H W 3'],
  num_frames: Int[Array, 'B'],
) -> UInt8[Array, 'B T H W']:
  """Estimate the depth of clips, whose nearest point is 255 and farthest 0.

  The range is that of the whole clip: that of each frame would flicker.

  Args:
    network: estimates the depth of frames, one at a time.
    params: its weights.
    pixels: the clips.
    num_frames: frames of each clip that are not padding.
  """
  frames = normalise(pixels).reshape(-1, 1, *pixels.shape[2:])
  depth = jax.lax.map(lambda x: network.features(params, x)['depth'][0], frames)
  depth = jax.lax.stop_gradient(depth).reshape(pixels.shape[:-1])
  is_real = jnp.arange(pixels.shape[1])[None] < num_frames[:, None]
  is_real = is_real[:, :, None, None]
  inside = (1, 2, 3)
  low = jnp.min(depth, inside, keepdims=True, where=is_real, initial=jnp.inf)
  high = jnp.max(depth, inside, keepdims=True, where=is_real, initial=-jnp.inf)
  share = jnp.clip((depth - low) / jnp.maximum(high - low, 1e-6), 0.0, 1.0)
  return jnp.round(255 * share).astype(jnp.uint8)
