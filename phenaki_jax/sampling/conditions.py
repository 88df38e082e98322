"""What clips are made from beside prompts, as what a generator reads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from phenaki_jax.masked_transformer.structure import with_structure
from phenaki_jax.nn.conditions import (
  Canvas,
  Conditions,
  Entries,
  as_values,
  unconditional,
)
from phenaki_jax.nn.config import PortsConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Given:
  """What is known of clips before they are sampled.

  Attributes:
    ids: token ids [B, t, h, w], or values of diffusion [B, t, h, w, C]; only
      known ones are read.
    known: bool [B, t, h, w].
    conditions: what the ports of the generator read of the context.
  """

  ids: np.ndarray
  known: np.ndarray
  conditions: Conditions | None = None


def of_pixels(
  ports: PortsConfig,
  frames: UInt8[np.ndarray, 'B T H W 3'],
  known: Bool[np.ndarray, 'B T H W'],
) -> Conditions | None:
  """Return known pixels as conditions; None for a network without a canvas.

  Args:
    ports: those of the network.
    frames: the pixels; those that are not known are replaced by zeros.
    known: True at known pixels.
  """
  if not ports.canvas:
    return None
  rgb = np.where(known[..., None], frames, 0).astype(np.uint8)
  canvas = Canvas(rgb=jnp.asarray(rgb), known=jnp.asarray(known))
  return Conditions(canvas=canvas)


def of_context(
  ports: PortsConfig,
  context: UInt8[np.ndarray, 'B K H W 3'],
  tokens: Int[np.ndarray, 'B _ h w'] | Float[np.ndarray, 'B _ h w C'],
  *,
  frames: int,
  latent_frames: int,
) -> Given:
  """Return what context frames make known of clips.

  Args:
    ports: those of the network.
    context: K frames.
    tokens: of the context, or its values.
    frames: of a clip.
    latent_frames: of a clip.
  """
  after = [(0, 0), (0, latent_frames - tokens.shape[1])]
  ids, known = (
    np.pad(x, after + [(0, 0)] * (x.ndim - 2))
    for x in (tokens, np.ones(tokens.shape[:4], bool))
  )
  missing = [(0, 0), (0, frames - context.shape[1]), (0, 0), (0, 0)]
  conditions = of_pixels(
    ports,
    np.pad(context, [*missing, (0, 0)]),
    np.pad(np.ones(context.shape[:-1], bool), missing),
  )
  return Given(ids=ids, known=known, conditions=conditions)


def with_fps(
  conditions: Conditions | None, fps: float | int, *, batch: int
) -> Conditions:
  """Add the frame rate of the result.

  Args:
    conditions: further conditions.
    fps: frames per second.
    batch: number of samples.
  """
  conditions = conditions or Conditions()
  rates = jnp.full(batch, fps, jnp.float32)
  return dataclasses.replace(
    conditions, scalars={**conditions.scalars, 'fps': rates}
  )


def with_images(
  conditions: Conditions | None,
  images: Int[np.ndarray, 'images h w'] | Float[np.ndarray, 'images n D'],
  *,
  batch: int,
  latent_frames: int,
  role: str,
) -> Conditions:
  """Add images to the memory, which all latent frames see.

  Args:
    conditions: further conditions.
    images: tokens or vectors of each.
    batch: number of samples.
    latent_frames: of each sample.
    role: their role in the memory.
  """
  count = len(images)
  entries = Entries(
    values=jnp.repeat(as_values(jnp.asarray(images), 1, count), batch, axis=0),
    slots=jnp.tile(jnp.arange(count, dtype=jnp.int32), (batch, 1)),
    visible=jnp.ones((batch, latent_frames, count), bool),
  )
  conditions = conditions or Conditions()
  return dataclasses.replace(
    conditions, memory={**conditions.memory, role: entries}
  )


def with_depth(
  conditions: Conditions,
  depth: Float[np.ndarray, 'B T H W'],
  level: int,
  *,
  is_told: bool = True,
) -> Conditions:
  """Show the depth of all frames on the canvas.

  Args:
    conditions: with a canvas.
    depth: relative inverse depth, 0 to 1.
    level: how far it is blurred.
    is_told: whether the generator reads the level.
  """
  assert conditions.canvas is not None
  levels = jnp.full(len(depth), level, jnp.float32)
  canvas = with_structure(
    conditions.canvas,
    jnp.asarray(depth, jnp.float32),
    levels,
    jnp.ones(depth.shape[:2], bool),
  )
  told = {'level': levels} if is_told else {}
  return dataclasses.replace(
    conditions, canvas=canvas, scalars={**conditions.scalars, **told}
  )


def for_passes(conditions: Conditions | None, passes: int) -> Conditions | None:
  """Repeat conditions for the passes of guidance, side by side for each sample.

  Only the first pass sees the text and what else guidance moves towards.
  """
  if conditions is None:
    return None
  return jax.tree.map(
    lambda own, other: jnp.stack([own, other, other][:passes], 1).reshape(
      passes * own.shape[0], *own.shape[1:]
    ),
    conditions,
    unconditional(conditions),
  )
