"""What the samplers of all models share: conditions in, frames out."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from phenaki_jax.errors import UserError
from phenaki_jax.nn.conditions import Conditions
from phenaki_jax.sampling.conditions import (
  Given,
  of_context,
  with_fps,
  with_images,
)
from phenaki_jax.sampling.history import History, with_history
from phenaki_jax.text.vocab import Vocabulary

Own = TypeVar('Own', bound='ClipSampler')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSampler(abc.ABC):
  """Samples clips from prompts, optionally continuing given frames.

  The values of clips are token ids, latents or pixels.

  Attributes:
    models: settings of the networks: `kind` (the group of settings of the
      network), its `ports`, `tokenizer`, `text` and `cell` (frames, rows and
      columns of pixels of a value).
    tokenizer_params: parameters of the tokenizer, if there is one.
    vocabulary: encodes prompts as token ids.
    images: those that all clips see, by their role in the memory; see
      `with_source` and `with_character`.
    fps: frames per second of the training data, which a network that reads
      the frame rate is told; 0 if they are not known.
  """

  models: Any
  tokenizer_params: Any
  vocabulary: Vocabulary
  images: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  fps: float = 0.0

  @property
  @abc.abstractmethod
  def clip_frames(self) -> int:
    """Return the number of frames of a training clip."""

  @abc.abstractmethod
  def encode(self, pixels: np.ndarray) -> np.ndarray:
    """Encode uint8 frames [B, T, H, W, 3] as values [B, t, h, w, ...]."""

  @abc.abstractmethod
  def decode(self, ids: np.ndarray) -> np.ndarray:
    """Decode values [B, t, h, w, ...] to uint8 frames [B, T, H, W, 3]."""

  @abc.abstractmethod
  def image(self, frames: np.ndarray) -> np.ndarray:
    """Return uint8 frames [N, H, W, 3] as the memory has images."""

  @abc.abstractmethod
  def blank(self, batch: int, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return values of zeros; raise a UserError if the size does not fit."""

  @abc.abstractmethod
  def completed(
    self,
    prompts: Sequence[str],
    *,
    ids: np.ndarray,
    known: np.ndarray,
    seeds: Sequence[int],
    settings: Any,
    conditions: Conditions | None = None,
    fps: float | int | None = None,
  ) -> np.ndarray:
    """Sample the values that are not known; see `Sampler.uncover`."""

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""
    return 1 + (num_latent - 1) * self.models.tokenizer.tubelet

  @property
  def history_slots(self) -> int:
    """Return how many earlier scenes of a story a clip sees; 0 for none."""
    ports = self.models.ports
    return ports.memory_slots if 'history' in ports.memory else 0

  @property
  def reads_fps(self) -> bool:
    """Return whether the network is told the frame rate of a clip."""
    return 'fps' in self.models.ports.scalars

  def with_source(self: Own, frame: np.ndarray) -> Own:
    """Return a sampler of clips that see an image: the source of a story.

    Args:
      frame: uint8 [H, W, 3], of the size of the clips.

    Raises:
      UserError: the network does not read one.
    """
    return self._with_images(frame[None], 'source', 'source frame')

  def with_character(self: Own, frames: np.ndarray) -> Own:
    """Return a sampler of clips that see pictures of a character.

    Args:
      frames: uint8 [N, H, W, 3], of the size of the clips; N is at most the
        number of slots of the memory.

    Raises:
      UserError: the network does not read them, or so many.
    """
    what = 'pictures of a character'
    return self._with_images(frames, 'character', what)

  def _with_images(self: Own, frames: np.ndarray, role: str, what: str) -> Own:
    ports = self.models.ports
    if role not in ports.memory:
      raise UserError(
        f'the model reads no {what}; use one that was trained with --set '
        f'{self.models.kind}.ports.memory={role} and a share task.{role}_share'
      )
    if not 0 < len(frames) <= ports.memory_slots:
      raise UserError(
        f'there are {len(frames)} {what}; give 1 to {ports.memory_slots}, '
        'which are as many as the model reads'
      )
    images = {**self.images, role: self.image(frames)}
    return dataclasses.replace(self, images=images)

  def clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: Any,
    context: np.ndarray | None = None,
    history: History | None = None,
    fps: float | int | None = None,
  ) -> np.ndarray:
    """Sample one clip of the training length for each prompt.

    Args:
      prompts: one per clip.
      size: height and width in pixels.
      seeds: one per clip, 0 to 2**32 - 1.
      settings: how to sample.
      context: uint8 [B, K, H, W, 3], the context frames that the clips
        continue; K is 1 + k * tubelet and less than the length of a clip.
      history: earlier scenes, for a model with `history_slots`.
      fps: see `Sampler.uncover`.

    Returns:
      uint8 [B, T, H, W, 3]; the clip starts with the decoded context frames.

    Raises:
      UserError: prompts, seeds and context differ in number, or sizes or
        lengths do not fit the model.
    """
    check_prompts(prompts, seeds)
    given = self.given(context, size=size, batch=len(prompts), history=history)
    made = self.completed(
      prompts,
      ids=given.ids,
      known=given.known,
      seeds=seeds,
      settings=settings,
      conditions=given.conditions,
      fps=fps,
    )
    return self.decode(made)

  def given(
    self,
    context: np.ndarray | None,
    *,
    size: tuple[int, int],
    batch: int,
    history: History | None = None,
  ) -> Given:
    """Return what context frames and a history make known of clips.

    Args:
      context: see `clips`.
      size: height and width in pixels.
      batch: number of clips.
      history: see `clips`.

    Raises:
      UserError: the context has another shape, or sizes or lengths do not fit
        the tokenizer.
    """
    if history is not None:
      given = self.given(context, size=size, batch=batch)
      return with_history(given, history, self.image, self.texts)
    ids = self.blank(batch, self.clip_frames, size)
    if context is None:
      return Given(ids=ids, known=np.zeros(ids.shape[:4], bool))
    wanted = (batch, *size, 3)
    shape = (context.shape[0], *context.shape[2:])
    if shape != wanted or context.shape[1] >= self.clip_frames:
      raise UserError(
        f'context frames of shape {context.shape}; give uint8 '
        f'[{batch}, K, {size[0]}, {size[1]}, 3] with K below the clip length '
        f'of {self.clip_frames}.'
      )
    self.models.tokenizer.grid(context.shape[1], size)  # Checks their number.
    return of_context(
      self.models.ports,
      context,
      self.encode(context),
      frames=self.clip_frames,
      latent_frames=ids.shape[1],
    )

  def told(
    self,
    conditions: Conditions | None,
    ids: np.ndarray,
    fps: float | int | None = None,
  ) -> Conditions | None:
    """Add the images and the frame rate, if the network reads them.

    As in training, a frame rate is not told of images.

    Args:
      conditions: what else it reads.
      ids: the values of the clips.
      fps: see `Sampler.uncover`.
    """
    batch, latent_frames = ids.shape[:2]
    for role, images in self.images.items():
      conditions = with_images(
        conditions,
        images,
        batch=batch,
        latent_frames=latent_frames,
        role=role,
      )
    rate = self.fps if fps is None else fps
    if self.reads_fps and latent_frames > 1 and 0 < rate <= self.fps:
      conditions = with_fps(conditions, rate, batch=batch)
    return conditions

  def texts(self, prompts: Sequence[str]) -> Int[Array, 'B L']:
    """Return the token ids of prompts."""
    length = self.models.text.max_length
    texts = [self.vocabulary.encode_padded(p, length) for p in prompts]
    return jnp.asarray(np.stack(texts), jnp.int32)


def check_prompts(prompts: Sequence[str], seeds: Sequence[int]) -> None:
  """Raise a UserError unless there is one seed for each prompt."""
  if not len(prompts) == len(seeds) > 0:
    raise UserError(
      f'{len(prompts)} prompts and {len(seeds)} seeds; give one seed for '
      'each prompt, and at least one prompt.'
    )
