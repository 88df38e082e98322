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
from phenaki_jax.diffusion.unet import image_vectors
from phenaki_jax.generator import empty_texts
from phenaki_jax.nn.conditions import Conditions as PortConditions
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.sampling.clip_sampler import ClipSampler
from phenaki_jax.sampling.conditions import for_passes
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.guidance import SCHEDULES, guide
from phenaki_jax.sampling.sampler import Guided
from phenaki_jax.text.config import TextConfig
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

  @property
  def kind(self) -> str:
    """Return the name of the group of settings of the network."""
    return 'diffusion'

  @property
  def ports(self) -> PortsConfig:
    """Return what the network reads beside its values and text."""
    return self.diffusion.ports

  @property
  def cell(self) -> tuple[int, int, int]:
    """Return frames, rows and columns of the pixels of a value."""
    if not self.is_latent:
      return (1, 1, 1)
    return (self.tokenizer.tubelet, *self.tokenizer.patch)

  def grid(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return frames, rows and columns of the values of clips."""
    grid = self.tokenizer.grid(frames, size)
    return grid if self.is_latent else (frames, *size)


@functools.partial(
  jax.jit, static_argnames=('models', 'steps', 'guided', 'is_inverse')
)
def denoise(
  models: DiffusionModels,
  steps: int,
  params: Any,
  texts: Int[Array, 'B L'],
  values: Float[Array, 'B T H W C'],
  known: Bool[Array, 'B T H W'],
  keys: Key[Array, 'B'],
  scales: Float[Array, 'B 2'],
  guided: Guided | None = None,
  away: Int[Array, 'B L'] | None = None,
  ports: PortConditions | None = None,
  noise: Float[Array, 'B T H W C'] | None = None,
  *,
  is_inverse: bool = False,
) -> Float[Array, 'B T H W C']:
  """Sample values from noise, or find the noise of which values are made.

  Args:
    models: settings of the networks.
    steps: number of DDIM steps.
    params: of the denoiser.
    texts: token ids of the prompts.
    values: only known values are read, and all of them by an inversion.
    known: True at known values, which are shown on the canvas.
    keys: one for each sample.
    scales: scale of the guidance and of the temporal guidance of each sample.
    guided: how to guide; None for no guidance.
    away: token ids of the negative texts, if `guided.is_negative`.
    ports: what the ports of the network read.
    noise: where the steps start; None draws it.
    is_inverse: return the noise from which the steps without guidance lead to
      the values (DDIM inversion).
  """
  denoiser, config = models.denoiser, models.diffusion
  batch = values.shape[0]
  show = latent_canvas if models.is_latent else pixel_canvas
  passes = 1 if guided is None else 3 if guided.is_temporal else 2
  canvas = jnp.repeat(show(values, known), passes, axis=0)
  # The layers over time are off in images, as in training.
  time = None
  if values.shape[1] > 1:
    time = jnp.arange(passes * batch) % passes < 2
  own = denoiser.encode(params, texts)
  other = denoiser.encode(params, empty_texts(texts) if away is None else away)
  # The rows of a sample stand together, as in `uncover_tokens`.
  read = jax.tree.map(
    lambda one, two: jnp.stack([one, two, two][:passes], 1).reshape(
      passes * batch, *one.shape[1:]
    ),
    own,
    other,
  )
  given = Conditions(
    canvas=canvas,
    text=read.vectors,
    text_mask=read.mask,
    time=time,
    ports=for_passes(denoiser.remember(params, ports), passes),
  )

  def predict(x: Array, level: Array) -> Array:
    # One forward pass on a larger batch predicts with and without the text, and
    # without both text and time.
    copies, levels = (jnp.repeat(one, passes, axis=0) for one in (x, level))
    found = denoiser.predict(params, copies, levels, given)
    found = found.reshape(batch, passes, *found.shape[1:])
    if guided is None:
      return found[:, 0]
    scale = scales[:, 0] * SCHEDULES[guided.schedule](1.0 - level)
    still = found[:, 2] if passes == 3 else None
    return guide(found[:, 0], found[:, 1], scale, still, scales[:, 1])

  process, levels = config.process, jnp.asarray(even_levels(steps))
  if is_inverse:
    return process.invert(predict, values, levels, keys)
  start = process.start(values.shape, keys) if noise is None else noise
  return sample(process, predict, start, levels, keys)


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
class DiffusionSampler(ClipSampler):
  """Samples clips of latents or pixels; see `ClipSampler`.

  Attributes:
    params: parameters of the networks; see `Denoiser`.
  """

  models: DiffusionModels
  params: Any

  @property
  def clip_frames(self) -> int:
    """Return the number of frames of a training clip."""
    return self.models.frames

  def encode(self, pixels: np.ndarray) -> np.ndarray:
    """Encode uint8 frames [B, T, H, W, 3] as values [B, t, h, w, C]."""
    if self.models.is_latent:
      return np.asarray(_latents(self.models, self.tokenizer_params, pixels))
    return np.asarray(normalise(jnp.asarray(pixels))) / (
      self.models.diffusion.scale
    )

  def decode(self, ids: np.ndarray) -> np.ndarray:
    """Decode values [B, t, h, w, C] to uint8 frames [B, T, H, W, 3]."""
    return np.asarray(_pixels(self.models, self.tokenizer_params, ids))

  def image(self, frames: np.ndarray) -> np.ndarray:
    """Return uint8 frames [N, H, W, 3] as the memory has images: as vectors."""
    values = jnp.asarray(self.encode(frames[:, None])[:, 0])
    return np.asarray(image_vectors(values, self.models.diffusion))

  def blank(self, batch: int, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return values of zeros; raise a UserError if the size does not fit."""
    shape = (batch, *self.models.grid(frames, size))
    return np.zeros((*shape, self.models.diffusion.channels), np.float32)

  def completed(
    self,
    prompts: Sequence[str],
    *,
    ids: np.ndarray,
    known: np.ndarray,
    seeds: Sequence[int],
    settings: SamplingSettings,
    conditions: PortConditions | None = None,
    fps: float | int | None = None,
    noise: np.ndarray | None = None,
  ) -> np.ndarray:
    """Sample the values that are not known.

    Args:
      prompts: one per sample.
      ids: float32 [B, t, h, w, C]; only known values are read.
      known: bool [B, t, h, w].
      seeds: one per sample.
      settings: `steps`, `guidance`, `guidance_schedule`, `negative` and
        `time_guidance` are read; the others are of masked transformers.
      conditions: what the ports read beside the source and the frame rate.
      fps: see `Sampler.uncover`.
      noise: from `invert`; None draws it.

    Returns:
      float32 [B, t, h, w, C]; known values are as given, whatever the network
      makes of them.
    """
    guided, away = Guided.by(settings), None
    if guided and guided.is_negative:
      away = self.texts([settings.negative] * len(prompts))
    values = jnp.asarray(ids)
    scales = jnp.array([settings.guidance, settings.time_guidance], jnp.float32)
    made = denoise(
      self.models,
      settings.steps,
      self.params,
      self.texts(prompts),
      values,
      jnp.asarray(known),
      jax.vmap(rng.root)(jnp.asarray(list(seeds), jnp.uint32)),
      jnp.tile(scales, (len(prompts), 1)),
      guided=guided,
      away=away,
      ports=self.told(conditions, ids, fps),
      noise=None if noise is None else jnp.asarray(noise),
    )
    return np.asarray(jnp.where(known[..., None], values, made))

  def invert(
    self,
    ids: np.ndarray,
    *,
    steps: int,
    conditions: PortConditions | None = None,
    fps: float | int | None = None,
  ) -> np.ndarray:
    """Return the noise of which the model makes clips, without a text.

    Args:
      ids: float32 [B, t, h, w, C]: the values of the clips.
      steps: number of DDIM steps.
      conditions: see `completed`.
      fps: see `completed`.
    """
    batch, values = len(ids), jnp.asarray(ids)
    return np.asarray(
      denoise(
        self.models,
        steps,
        self.params,
        self.texts([''] * batch),
        values,
        jnp.zeros(values.shape[:4], bool),
        jax.vmap(rng.root)(jnp.zeros(batch, jnp.uint32)),
        jnp.zeros((batch, 2)),
        ports=self.told(conditions, ids, fps),
        is_inverse=True,
      )
    )
