"""Super-resolution: a diffusion model adds what small frames lack."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from phenaki_jax import rng
from phenaki_jax.diffusion.conditions import Conditions, pixel_canvas
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.enlargement import enlarge, project
from phenaki_jax.diffusion.process import sample
from phenaki_jax.diffusion.schedule import even_levels
from phenaki_jax.errors import UserError
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.text.config import TextConfig
from phenaki_jax.types import VideoU8

Frames = UInt8[np.ndarray, 'frames _ _ 3']
"""Frames whose size differs from that of the arguments."""


@functools.partial(jax.jit, static_argnames=('config', 'steps', 'is_exact'))
def enlarge_clips(
  config: DiffusionConfig,
  steps: int,
  params: Any,
  pixels: UInt8[Array, 'B T h w C'],
  keys: Key[Array, 'B'],
  degradation: Float[Array, ''],
  *,
  is_exact: bool,
) -> UInt8[Array, 'B T H W C']:
  """Enlarge a batch of clips.

  Args:
    config: of the model.
    steps: number of DDIM steps.
    params: of the denoiser.
    pixels: the clips.
    keys: one for each clip.
    degradation: share of the most noise of training, which is added.
    is_exact: make the small copies of the result equal to the clips.
  """
  clean = small = normalise(pixels)
  scalars = {}
  if config.degradation:
    share = jnp.broadcast_to(degradation, small.shape[:1])
    scalars['degradation'] = share.astype(jnp.float32)
    each = jax.vmap(
      lambda key: jax.random.normal(
        rng.stream(key, 'degrade'), small.shape[1:], jnp.float32
      )
    )(keys)
    small = small + config.degradation * degradation * each
  large = enlarge(small, config.enlarge)
  given = Conditions(
    canvas=pixel_canvas(large, jnp.ones(large.shape[:-1], bool)),
    scalars=scalars,
    time=jnp.ones(large.shape[0], bool) if large.shape[1] > 1 else None,
  )
  denoiser = Denoiser(config=config, text=TextConfig())
  process = config.process
  missing = sample(
    process,
    lambda x, level: denoiser.predict(params, x, level, given),
    process.start(large.shape, keys),
    jnp.asarray(even_levels(steps)),
    keys,
  )
  large = large + config.scale * missing
  return to_uint8(project(large, clean) if is_exact else large)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enlarger:
  """Enlarges clips of any length.

  Attributes:
    config: of the model.
    params: parameters of 'unet'.
    clip_frames: length of a training clip.
  """

  config: DiffusionConfig
  params: Any
  clip_frames: int

  def __call__(
    self,
    frames: VideoU8,
    *,
    seed: int = 0,
    steps: int = 1,
    degradation: float | int = 0.0,
  ) -> Frames:
    """Return uint8 [T, H, W, 3] of `config.enlarge` times the sides.

    A long clip is enlarged in windows of the training length. If all frames
    have the same noise, those of all windows have it.

    Args:
      frames: the clip.
      seed: 0 to 2**32 - 1.
      steps: number of DDIM steps; the result of one is the mean of what the
        frames can show, which is nearest to the original, and more draw one of
        these.
      degradation: 0 if the frames are exact; their small copies are then kept.
        More, up to 1, lets the model change compressed or noisy frames.

    Raises:
      UserError: the size does not fit the model.
    """
    factor, divisor = self.config.enlarge, self.config.divisor
    if any(factor * side % divisor for side in frames.shape[1:3]):
      raise UserError(
        f'the frames are {frames.shape[1]} by {frames.shape[2]} pixels; both '
        f'must be multiples of {max(1, divisor // factor)} to be enlarged'
      )
    if degradation and not self.config.degradation:
      raise UserError(
        f'degradation is {degradation}, but the model was trained on exact '
        'frames only; leave it out'
      )
    total, length = len(frames), min(self.clip_frames, len(frames))
    made = []
    for start in range(0, total, length):
      first = min(start, total - length)
      clip = enlarge_clips(
        self.config,
        steps,
        self.params,
        jnp.asarray(frames[None, first : first + length]),
        rng.root(seed)[None],
        jnp.float32(degradation),
        is_exact=not degradation,
      )
      made.append(np.asarray(clip)[0, start - first :])
    return np.concatenate(made)
