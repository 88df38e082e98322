"""What clips are made from beside prompts, as what a generator reads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.structure import with_structure
from phenaki_jax.nn.conditions import Canvas, Conditions, Entries, repeat


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Given:
  """What is known of clips before they are sampled.

  Attributes:
    ids: int32 [B, t, h, w]; only known tokens are read.
    known: bool [B, t, h, w].
    conditions: what the ports of the generator read of the context.
  """

  ids: np.ndarray
  known: np.ndarray
  conditions: Conditions | None = None


def of_pixels(
  config: GeneratorConfig,
  frames: UInt8[np.ndarray, 'B T H W 3'],
  known: Bool[np.ndarray, 'B T H W'],
) -> Conditions | None:
  """Return known pixels as conditions; None for a generator without a canvas.

  Args:
    config: settings of the generator.
    frames: the pixels; those that are not known are replaced by zeros.
    known: True at known pixels.
  """
  if not config.ports.canvas:
    return None
  rgb = np.where(known[..., None], frames, 0).astype(np.uint8)
  canvas = Canvas(rgb=jnp.asarray(rgb), known=jnp.asarray(known))
  return Conditions(canvas=canvas)


def of_context(
  config: GeneratorConfig,
  context: UInt8[np.ndarray, 'B K H W 3'],
  tokens: Int[np.ndarray, 'B _ h w'],
  *,
  frames: int,
  latent_frames: int,
) -> Given:
  """Return what context frames make known of clips.

  Args:
    config: settings of the generator.
    context: K frames.
    tokens: of the context.
    frames: of a clip.
    latent_frames: of a clip.
  """
  ids, known = (
    np.pad(x, [(0, 0), (0, latent_frames - x.shape[1]), (0, 0), (0, 0)])
    for x in (tokens, np.ones(tokens.shape, bool))
  )
  missing = [(0, 0), (0, frames - context.shape[1]), (0, 0), (0, 0)]
  conditions = of_pixels(
    config,
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


def with_source(
  conditions: Conditions | None,
  source: Int[np.ndarray, 'h w'],
  *,
  batch: int,
  latent_frames: int,
  role: str = 'source',
) -> Conditions:
  """Add a source frame, which all latent frames see.

  Args:
    conditions: further conditions.
    source: tokens of the frame.
    batch: number of samples.
    latent_frames: of each sample.
    role: its role in the memory.
  """
  entries = Entries(
    values=jnp.tile(jnp.asarray(source).reshape(1, 1, -1), (batch, 1, 1)),
    slots=jnp.zeros((batch, 1), jnp.int32),
    visible=jnp.ones((batch, latent_frames, 1), bool),
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

  Only the first pass sees the text and the content, towards which guidance
  moves (Gen-1, arXiv 2302.03011, section 3.3).
  """
  if conditions is None:
    return None
  every = repeat(conditions, passes)
  if 'content' not in every.memory:
    return every
  content = every.memory['content']
  is_first = jnp.arange(content.visible.shape[0]) % passes == 0
  content = dataclasses.replace(
    content, visible=content.visible & is_first[:, None, None]
  )
  return dataclasses.replace(every, memory={**every.memory, 'content': content})
