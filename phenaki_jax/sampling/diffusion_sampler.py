"""The sampler of a diffusion model: prompts in, frames out.

Like `Sampler` it makes clips of one length that continue given frames, so that
stories are told by either.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from phenaki_jax import rng
from phenaki_jax.diffusion.conditions import (
  Conditions,
  latent_canvas,
  pixel_canvas,
)
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.process import sample
from phenaki_jax.diffusion.schedule import even_levels
from phenaki_jax.errors import UserError
from phenaki_jax.generator import Texts, empty_texts
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.sampling.guidance import SCHEDULES, guide
from phenaki_jax.sampling.sampler import Guided, SamplingSettings
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import Vocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionModels:
  """Settings of the networks; static for compilation.

  Attributes:
    diffusion: of the denoiser.
    text: of the text encoder.
    tokenizer: of the tokenizer of latents; its grid is that of the values.
    frames: length of a training clip.
  """

  diffusion: DiffusionConfig
  text: TextConfig
  tokenizer: TokenizerConfig
  frames: int

  @property
  def denoiser(self) -> Denoiser:
    """Return the networks that are called in each step."""
    return Denoiser(config=self.diffusion, text=self.text)

  @property
  def is_latent(self) -> bool:
    """Return whether the values are latents of the tokenizer."""
    return self.diffusion.values == 'latents'

  def grid(self, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return frames, rows and columns of the values of a training clip."""
    grid = self.tokenizer.grid(self.frames, size)
    return grid if self.is_latent else (self.frames, *size)


@functools.partial(jax.jit, static_argnames=('models', 'steps', 'guided'))
def denoise(
  models: DiffusionModels,
  steps: int,
  params: Any,
  texts: Int[Array, 'B L'],
  values: Float[Array, 'B T H W C'],
  known: Bool[Array, 'B T H W'],
  keys: Key[Array, 'B'],
  guidance: Float[Array, 'B'],
  guided: Guided | None = None,
  away: Int[Array, 'B L'] | None = None,
) -> Float[Array, 'B T H W C']:
  """Sample values from noise.

  Args:
    models: settings of the networks.
    steps: number of DDIM steps.
    params: of the denoiser.
    texts: token ids of the prompts.
    values: only known values are read.
    known: True at known values, which are shown on the canvas.
    keys: one for each sample.
    guidance: guidance scale of each sample.
    guided: how to guide; None for no guidance.
    away: token ids of the negative texts, if `guided.is_negative`.
  """
  denoiser, config = models.denoiser, models.diffusion
  batch = values.shape[0]
  show = latent_canvas if models.is_latent else pixel_canvas
  # The layers over time are off in images, as in training.
  time = jnp.ones(batch, bool) if values.shape[1] > 1 else None
  given = Conditions(canvas=show(values, known), time=time)

  def read(texts: Texts) -> Conditions:
    found = denoiser.encode(params, texts)
    return dataclasses.replace(given, text=found.vectors, text_mask=found.mask)

  own, other = read(texts), None
  if guided is not None:
    other = read(empty_texts(texts) if away is None else away)
    doubled = jax.tree.map(lambda *parts: jnp.concatenate(parts), own, other)

  def predict(x: Array, level: Array) -> Array:
    if guided is None:
      return denoiser.predict(params, x, level, own)
    # One forward pass on a doubled batch predicts with and without the text.
    both = denoiser.predict(
      params, jnp.concatenate([x, x]), jnp.concatenate([level, level]), doubled
    )
    scale = guidance * SCHEDULES[guided.schedule](1.0 - level)
    return guide(both[:batch], both[batch:], scale)

  process = config.process
  start = process.start(values.shape, keys)
  return sample(process, predict, start, jnp.asarray(even_levels(steps)), keys)


@functools.partial(jax.jit, static_argnames='models')
def _latents(
  models: DiffusionModels, params: Any, pixels: UInt8[Array, 'B T H W C']
) -> Float[Array, 'B t h w I']:
  found: Any = CViViT(models.tokenizer).apply(
    {'params': params}, normalise(pixels), method='latents'
  )
  return found / models.diffusion.scale


@functools.partial(jax.jit, static_argnames='models')
def _pixels(
  models: DiffusionModels, params: Any, values: Float[Array, 'B T H W C']
) -> UInt8[Array, 'B frames rows columns 3']:
  values = values * models.diffusion.scale
  if models.is_latent:
    decoded: Any = CViViT(models.tokenizer).apply(
      {'params': params}, values, method='decode_latents'
    )
    return to_uint8(decoded)
  return to_uint8(values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionSampler:
  """Samples clips from prompts, optionally continuing given frames.

  Attributes:
    models: settings of the networks.
    params: parameters of 'unet' and 'text'.
    tokenizer_params: parameters of the tokenizer of latents; None for pixels.
    vocabulary: encodes prompts as token ids.
  """

  models: DiffusionModels
  params: Any
  tokenizer_params: Any
  vocabulary: Vocabulary

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""
    return 1 + (num_latent - 1) * self.models.tokenizer.tubelet

  @property
  def clip_frames(self) -> int:
    """Return the number of frames of a training clip."""
    return self.models.frames

  def clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
  ) -> np.ndarray:
    """Sample one clip of the training length for each prompt.

    Args:
      prompts: one per clip.
      size: height and width in pixels.
      seeds: one per clip, 0 to 2**32 - 1.
      settings: `steps`, `guidance`, `guidance_schedule` and `negative` are
        read; the others are of masked transformers.
      context: uint8 [B, K, H, W, 3], the context frames that the clips
        continue; K is 1 + k * tubelet and less than the length of a clip.

    Returns:
      uint8 [B, T, H, W, 3]; the clip starts with the context frames, which
      latents decode.

    Raises:
      UserError: prompts, seeds and context differ in number, sizes or
        lengths do not fit the model, or `time_guidance` is not 1.
    """
    models, count = self.models, len(prompts)
    if not count == len(seeds) > 0:
      raise UserError(
        f'{count} prompts and {len(seeds)} seeds; give one seed for each '
        'prompt, and at least one prompt.'
      )
    length = self.clip_frames
    shape = models.grid(size)
    values = np.zeros((count, *shape, models.diffusion.channels), np.float32)
    known = np.zeros(values.shape[:-1], bool)
    seen = 0
    if context is not None:
      given = (context.shape[0], *context.shape[2:])
      if given != (count, *size, 3) or context.shape[1] >= length:
        raise UserError(
          f'context frames of shape {context.shape}; give uint8 [{count}, K, '
          f'{size[0]}, {size[1]}, 3] with K below the clip length of {length}.'
        )
      seen = models.tokenizer.grid(context.shape[1], size)[0]
      values[:, :seen] = self._encode(context)
      known[:, :seen] = True
    made = self._denoised(prompts, values, known, seeds, settings)
    # Known values are given, whatever the network makes of them.
    made = jnp.concatenate([jnp.asarray(values[:, :seen]), made[:, seen:]], 1)
    return np.asarray(_pixels(models, self.tokenizer_params, made))

  def stills(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
  ) -> np.ndarray:
    """Sample one image for each prompt, uint8 [B, 1, H, W, 3]."""
    rows, columns = self.models.grid(size)[1:]
    known = np.zeros((len(prompts), 1, rows, columns), bool)
    channels = self.models.diffusion.channels
    values = np.zeros((*known.shape, channels), np.float32)
    made = self._denoised(prompts, values, known, seeds, settings)
    return np.asarray(_pixels(self.models, self.tokenizer_params, made))

  def _denoised(
    self,
    prompts: Sequence[str],
    values: np.ndarray,
    known: np.ndarray,
    seeds: Sequence[int],
    settings: SamplingSettings,
  ) -> Float[Array, 'B T H W C']:
    """Sample the values of clips, or of images if there is one frame."""
    if settings.time_guidance != 1.0:
      raise UserError(
        f'time_guidance is {settings.time_guidance}, which diffusion models do '
        'not have; leave it out, or at 1'
      )
    guided, away = None, None
    if settings.guidance:
      guided = Guided(
        schedule=settings.guidance_schedule, is_negative=bool(settings.negative)
      )
      if settings.negative:
        away = self._texts([settings.negative] * len(prompts))
    return denoise(
      self.models,
      settings.steps,
      self.params,
      self._texts(prompts),
      jnp.asarray(values),
      jnp.asarray(known),
      jax.vmap(rng.root)(jnp.asarray(list(seeds), jnp.uint32)),
      jnp.full(len(prompts), settings.guidance, jnp.float32),
      guided=guided,
      away=away,
    )

  def _encode(self, frames: np.ndarray) -> np.ndarray:
    if self.models.is_latent:
      return np.asarray(_latents(self.models, self.tokenizer_params, frames))
    return np.asarray(normalise(jnp.asarray(frames))) / (
      self.models.diffusion.scale
    )

  def _texts(self, prompts: Sequence[str]) -> Int[Array, 'B L']:
    length = self.models.text.max_length
    texts = [self.vocabulary.encode_padded(p, length) for p in prompts]
    return jnp.asarray(np.stack(texts), jnp.int32)
