"""The sampler: prompts in, frames out.

Three compiled programs encode the context, decode the tokens and turn them
into pixels. Whatever varies between calls (guidance, temperatures, seeds, known
tokens) is traced, so that a story of many scenes compiles once.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from phenaki_jax import rng
from phenaki_jax.errors import UserError
from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import Conditions
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.clip_sampler import ClipSampler, check_prompts
from phenaki_jax.sampling.conditions import for_passes
from phenaki_jax.sampling.config import (
  DecodeConfig,
  GuidanceSchedule,
  SamplingSettings,
)
from phenaki_jax.sampling.decode import DecodeState, decode
from phenaki_jax.sampling.guidance import SCHEDULES, guide
from phenaki_jax.sampling.history import History
from phenaki_jax.sampling.scored_clips import ScoredClips, criticise
from phenaki_jax.sampling.tokens import decode_tokens, encode_pixels
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Models:
  """Settings of the three networks; static for compilation.

  Raises:
    UserError: the generator was trained for another codebook.
  """

  tokenizer: TokenizerConfig
  generator: GeneratorConfig
  text: TextConfig

  def __post_init__(self) -> None:
    """Check that generator and tokenizer have the same codebook."""
    codes = self.tokenizer.codebook_size
    if self.generator.codebook_size != codes:
      raise UserError(
        f'the generator predicts {self.generator.codebook_size} codes but '
        f'the tokenizer has {codes}; use the tokenizer that the generator '
        'was trained with.'
      )

  @property
  def kind(self) -> str:
    """Return the name of the group of settings of the network."""
    return 'generator'

  @property
  def ports(self) -> PortsConfig:
    """Return what the generator reads beside tokens and text."""
    return self.generator.ports

  @property
  def cell(self) -> tuple[int, int, int]:
    """Return frames, rows and columns of the pixels of a token."""
    return (self.tokenizer.tubelet, *self.tokenizer.patch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guided:
  """How guidance is compiled; None in its place predicts without it.

  Without guidance there is one forward pass on the batch, and not on twice
  the batch.

  Attributes:
    schedule: how the scale grows over the decoding steps.
    is_negative: whether texts are given that the guidance moves away from.
    is_temporal: whether there is temporal guidance.
  """

  schedule: GuidanceSchedule = 'constant'
  is_negative: bool = False
  is_temporal: bool = False

  @classmethod
  def by(cls, settings: SamplingSettings) -> 'Guided | None':
    """Return how settings guide; None if they do not."""
    is_temporal = settings.time_guidance != 1.0
    if not (settings.guidance or is_temporal):
      return None
    return cls(
      schedule=settings.guidance_schedule,
      is_negative=bool(settings.negative),
      is_temporal=is_temporal,
    )


@functools.partial(jax.jit, static_argnames=('models', 'config', 'guided'))
def uncover_tokens(
  models: Models,
  config: DecodeConfig,
  params: Any,
  texts: Int[Array, 'B L'] | EncodedTexts,
  ids: Int[Array, 'B t h w'],
  known: Bool[Array, 'B t h w'],
  keys: Key[Array, 'B'],
  settings: Float[Array, 'B 3'],
  guided: Guided | None = Guided(),
  away: Int[Array, 'B L'] | None = None,
  conditions: Conditions | None = None,
  time_guidance: Float[Array, 'B'] | None = None,
) -> DecodeState:
  """Decode a batch.

  Args:
    models: settings of the networks.
    config: settings of the decoding.
    params: of the generator.
    texts: token ids of the prompts, or what the generator encodes them and
      what guidance moves away from as.
    ids: token ids; only known tokens are read.
    known: True at known tokens.
    keys: one for each sample.
    settings: guidance scale and the two temperatures of each sample.
    guided: how to guide.
    away: token ids of the negative texts, if `guided.is_negative`.
    conditions: what the ports of the generator read.
    time_guidance: scale of each sample, if `guided.is_temporal`.
  """
  batch, *grid = ids.shape
  generator = Generator(config=models.generator, text=models.text)
  if isinstance(texts, EncodedTexts):
    encoded = texts
  elif guided is None:
    encoded = generator.encode(params, texts)
  elif guided.is_negative:
    assert away is not None, 'negative texts are missing'
    encoded = generator.encode(params, jnp.concatenate([texts, away]))
  else:
    encoded = generator.encode_with_empty(params, texts)
  own = jax.tree.map(lambda both: both[:batch], encoded)
  conditions = generator.remember(params, conditions)  # once for all steps
  passes = 1 if guided is None else 3 if guided.is_temporal else 2
  every = for_passes(conditions, passes)
  # The rows of a sample stand together, so that they are on one device.
  text_of_pass = [0, 1, 1][:passes]
  encoded = jax.tree.map(
    lambda both: jnp.stack(
      [both[i * batch :][:batch] for i in text_of_pass], 1
    ).reshape(passes * batch, *both.shape[1:]),
    encoded,
  )
  if passes == 3:
    switch = jnp.arange(3 * batch)[:, None] % 3 < 2
    every = dataclasses.replace(
      every or Conditions(),
      over_time=jnp.broadcast_to(switch, (3 * batch, grid[0])),
    )

  def predict(shown: Array, progress: Array) -> Array:
    if guided is None:
      logits = generator.logits(
        params, shown.reshape(ids.shape), own, conditions=conditions
      )
      return logits.reshape(*shown.shape, -1)
    # One forward pass on a larger batch predicts with and without the text, and
    # without both text and time.
    copies = jnp.repeat(shown, passes, axis=0).reshape(-1, *grid)
    logits = generator.logits(params, copies, encoded, conditions=every)
    logits = logits.reshape(batch, passes, shown.shape[1], -1)
    scale = settings[:, 0] * SCHEDULES[guided.schedule](progress)
    still = logits[:, 2] if passes == 3 else None
    return guide(logits[:, 0], logits[:, 1], scale, still, time_guidance)

  def criticise(filled: Array) -> Array:
    odds = generator.criticise(
      params, filled.reshape(ids.shape), own, conditions=conditions
    )
    return jax.nn.log_sigmoid(odds).reshape(filled.shape)

  return decode(
    predict,
    ids=ids.reshape(batch, -1),
    known=known.reshape(batch, -1),
    keys=keys,
    mask_id=models.generator.codebook_size,
    config=config,
    temperature=settings[:, 1],
    choice_temperature=settings[:, 2],
    critic=criticise if config.order == 'critic' else None,
    grid=(ids.shape[1], ids.shape[2], ids.shape[3]),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(ClipSampler):
  """Samples clips of tokens; see `ClipSampler`.

  Attributes:
    generator_params: parameters of 'text' and 'generator'.
  """

  models: Models
  generator_params: Any

  @property
  def clip_frames(self) -> int:
    """Return the number of frames of a training clip."""
    return self.frames_of(self.models.generator.grid[0])

  def encode(self, pixels: np.ndarray) -> np.ndarray:
    """Encode uint8 frames [B, T, H, W, 3] as ids [B, t, h, w]."""
    return np.asarray(
      encode_pixels(self.models.tokenizer, self.tokenizer_params, pixels)
    )

  def decode(self, ids: np.ndarray) -> np.ndarray:
    """Decode ids [B, t, h, w] to uint8 frames [B, T, H, W, 3]."""
    return np.asarray(
      decode_tokens(self.models.tokenizer, self.tokenizer_params, ids)
    )

  def image(self, frames: np.ndarray) -> np.ndarray:
    """Return uint8 frames [N, H, W, 3] as the memory has images: as ids."""
    return self.encode(frames[:, None])[:, 0]

  def blank(self, batch: int, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return ids of zeros; raise a UserError if the size does not fit."""
    grid = self.models.tokenizer.grid(frames, size)
    return np.zeros((batch, *grid), np.int32)

  def uncover(
    self,
    prompts: Sequence[str],
    *,
    ids: np.ndarray,
    known: np.ndarray,
    seeds: Sequence[int],
    settings: SamplingSettings,
    conditions: Conditions | None = None,
    fps: float | int | None = None,
  ) -> DecodeState:
    """Sample the tokens that are not known.

    Args:
      prompts: one per sample.
      ids: int32 [B, t, h, w]; only known tokens are read.
      known: bool [B, t, h, w].
      seeds: one per sample; the same seed gives the same tokens regardless of
        the rest of the batch.
      settings: how to sample.
      conditions: what the ports of the generator read beside the source and
        the frame rate.
      fps: frames per second of the result; None are those of the training data.
        More than those were never seen in training, and are not told.

    Returns:
      The state after the last decoding step, in numpy. Its arrays are [B, N],
      in the order of `ids.reshape(B, N)`.

    Raises:
      UserError: the order is 'critic', and the model has none; or there is
        temporal guidance, and the model has no layers over time.
    """
    if settings.order == 'critic' and self.models.generator.critic == 'none':
      raise UserError(
        "sampling.order is 'critic', but the model has no critic; use "
        "'confidence' or 'random', or train a critic with "
        '--set generator.critic=token'
      )
    guided, away, time = Guided.by(settings), None, None
    if guided and guided.is_temporal:
      if self.models.generator.attention != 'factorized':
        raise UserError(
          f'sampling.time_guidance is {settings.time_guidance:g}, but the '
          'model has no layers over time that could be off; set it to 1, or '
          'train with --set generator.attention=factorized'
        )
      time = jnp.full(len(prompts), settings.time_guidance, jnp.float32)
    keys = jax.vmap(rng.root)(jnp.asarray(list(seeds), jnp.uint32))
    values = [
      settings.guidance,
      settings.temperature,
      settings.choice_temperature,
    ]
    if guided and guided.is_negative:
      away = self.texts([settings.negative] * len(prompts))
    state = uncover_tokens(
      self.models,
      DecodeConfig(
        steps=settings.steps, schedule=settings.schedule, order=settings.order
      ),
      self.generator_params,
      self.texts(prompts),
      jnp.asarray(ids, jnp.int32),
      jnp.asarray(known, bool),
      keys,
      jnp.tile(jnp.asarray(values, jnp.float32), (len(prompts), 1)),
      guided=guided,
      away=away,
      conditions=self.told(conditions, ids, fps),
      time_guidance=time,
    )
    return jax.tree.map(np.asarray, state)

  def completed(
    self, prompts: Sequence[str], *, ids: np.ndarray, **options: Any
  ) -> np.ndarray:
    """Return all tokens [B, t, h, w]; the options are those of `uncover`."""
    state = self.uncover(prompts, ids=ids, **options)
    return np.asarray(state.ids).reshape(ids.shape)

  def scored_clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
    history: History | None = None,
    fps: float | int | None = None,
  ) -> ScoredClips:
    """Sample clips with their scores; the options are those of `clips`."""
    check_prompts(prompts, seeds)
    given = self.given(context, size=size, batch=len(prompts), history=history)
    state = self.uncover(
      prompts,
      ids=given.ids,
      known=given.known,
      seeds=seeds,
      settings=settings,
      conditions=given.conditions,
      fps=fps,
    )
    tokens = np.asarray(state.ids).reshape(given.ids.shape)
    new = ~given.known.reshape(len(prompts), -1)
    critic = None
    if self.models.generator.critic != 'none':
      real = criticise(
        Generator(config=self.models.generator, text=self.models.text),
        self.generator_params,
        self.texts(prompts),
        tokens,
        self.told(given.conditions, tokens, fps),
      )
      critic = np.asarray(real).reshape(new.shape).mean(-1, where=new)
    return ScoredClips(
      frames=self.decode(tokens),
      likelihood=np.asarray(state.confidence).mean(-1, where=new),
      critic=critic,
    )
