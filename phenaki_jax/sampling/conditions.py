"""Known pixels and a source frame, as what the ports of a generator read."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, UInt8

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import Canvas, Conditions, Entries


def of_pixels(
  config: GeneratorConfig,
  frames: UInt8[np.ndarray, 'B T H W 3'],
  known: Bool[np.ndarray, 'B T H W'],
  fps: float | int | None = None,
) -> Conditions | None:
  """Return known pixels as conditions; None for a generator without a canvas.

  Args:
    config: settings of the generator.
    frames: the pixels; those that are not known are replaced by zeros.
    known: True at known pixels.
    fps: frames per second of the result, if it is known; it is left out if the
      generator does not read it.
  """
  if not config.ports.canvas:
    return None
  scalars = {}
  if fps is not None and 'fps' in config.ports.scalars:
    scalars['fps'] = jnp.full(len(frames), fps, jnp.float32)
  rgb = np.where(known[..., None], frames, 0).astype(np.uint8)
  canvas = Canvas(rgb=jnp.asarray(rgb), known=jnp.asarray(known))
  return Conditions(canvas=canvas, scalars=scalars)


def with_source(
  conditions: Conditions | None,
  source: Int[np.ndarray, 'h w'],
  *,
  batch: int,
  latent_frames: int,
) -> Conditions:
  """Add a source frame, which all latent frames see.

  Args:
    conditions: further conditions.
    source: tokens of the frame.
    batch: number of samples.
    latent_frames: of each sample.
  """
  entries = Entries(
    values=jnp.tile(jnp.asarray(source).reshape(1, 1, -1), (batch, 1, 1)),
    slots=jnp.zeros((batch, 1), jnp.int32),
    visible=jnp.ones((batch, latent_frames, 1), bool),
  )
  return dataclasses.replace(
    conditions or Conditions(), memory={'source': entries}
  )
