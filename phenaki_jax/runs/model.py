"""A trained story model: films of stories, and tokens of clips."""

import dataclasses
import hashlib
import logging
import os
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int32, Shaped, UInt8

import phenaki_jax
from phenaki_jax import progress
from phenaki_jax.data.config import DataConfig
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.prompts import PromptOracle
from phenaki_jax.evaluation.world import World
from phenaki_jax.media.film import Film
from phenaki_jax.runs import worlds
from phenaki_jax.runs.footage import read_footage, read_starts
from phenaki_jax.runs.remarks import make_remarks
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.generate import generate
from phenaki_jax.stories.judge import Judge
from phenaki_jax.stories.remarks import Remark
from phenaki_jax.stories.seeds import describe
from phenaki_jax.stories.story import (
  ModelDefaults,
  Story,
  resolve,
  with_options,
)
from phenaki_jax.stories.story_file import as_story
from phenaki_jax.text.words import Words

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """A trained model that generates films of stories.

  Attributes:
    name: where it came from, for people.
    fingerprint: identifies its arrays, configs and vocabulary.
    sampler: makes single clips; a `Sampler`, a `DiffusionSampler`, or one of
      them in a `StillFirst`.
    defaults: size, frame rate, lengths and settings where a story has none.
    data: the training data.
    subset: the part of StoryWorld that it was trained on; empty for other
      data.
    words: of the training captions; None if they are not known.
    source: digest of the frame that all clips see; '' for none.
    character: digests of the pictures of a character that all clips see.
    license: of the films, which carry it in their metadata; '' for none.
  """

  name: str
  fingerprint: str
  sampler: Sampler | Any
  defaults: ModelDefaults
  data: DataConfig
  subset: str
  words: Words | None = None
  source: str = ''
  character: tuple[str, ...] = ()
  license: str = ''

  def with_source(self, path: str | os.PathLike[str], story: Story) -> 'Model':
    """Return a model whose clips see an image, the source of a story.

    Args:
      path: an image, or a clip, whose first frame is taken.
      story: a resolved story, whose size it gets.

    Raises:
      NotFoundError, UserError: it cannot be read or has another size, or the
        model sees none.
    """
    frame = self._picture(path, story)
    return dataclasses.replace(
      self, sampler=self.sampler.with_source(frame), source=_digest(frame)
    )

  def with_character(
    self, paths: Sequence[str | os.PathLike[str]], story: Story
  ) -> 'Model':
    """Return a model whose clips see pictures of a character.

    Args:
      paths: images, or clips, whose first frames are taken; at most as many as
        the memory of the model has slots.
      story: a resolved story, whose size they get.

    Raises:
      NotFoundError, UserError: one cannot be read or has another size, or the
        model sees none, or not so many.
    """
    frames = np.array([self._picture(path, story) for path in paths])
    return dataclasses.replace(
      self,
      sampler=self.sampler.with_character(frames),
      character=tuple(map(_digest, frames)),
    )

  def _picture(
    self, path: str | os.PathLike[str], story: Story
  ) -> UInt8[np.ndarray, 'H W 3']:
    """Read an image, or the first frame of a clip, in the size of a story."""
    assert story.size is not None, 'the story is not resolved'
    frame = read_footage(path, size=story.size, fps=self.defaults.fps)[0]
    if frame.shape[:2] != story.size:  # Those of an .npy are not scaled.
      height, width = frame.shape[:2]
      raise UserError(
        f'{path} has frames of {height}x{width}, but those of the story have '
        f'{story.size[0]}x{story.size[1]}; give frames of that size, or a '
        'picture, which is scaled'
      )
    return frame

  def story(
    self,
    story: Story | Sequence[str] | str | os.PathLike[str],
    *,
    seed: int | None = None,
    frames: int | None = None,
    guidance: float | int | None = None,
    steps: int | None = None,
    temperature: float | int | None = None,
  ) -> Film:
    """Generate a film of a story.

    The film is held in memory; `phenaki story` writes long films to disk as
    they are generated. Both give the same frames. Limits of the model that
    affect the story (see `remarks`) are logged.

    Args:
      story: one prompt per scene, the path of a story file, or a `Story`.
      seed: 0 to 2**32 - 1, replaces the seed of the story. The same seed
        gives the same film.
      frames: length of scenes that give none; by default one clip of the
        model.
      guidance: guidance scale of scenes that give none.
      steps: decoding steps of scenes that give none.
      temperature: sampling temperature of scenes that give none.

    Raises:
      UserError: the story or an option is wrong, or the model cannot make it.
    """
    asked = with_options(
      as_story(story),
      seed=seed,
      frames=frames,
      guidance=guidance,
      steps=steps,
      temperature=temperature,
    )
    resolved = resolve(asked, self.defaults)
    assert resolved.fps is not None
    remarks = self.remarks(resolved)
    for remark in remarks:
      _log.warning('%s', remark.sentence)
    chunks = []
    total = resolved.num_frames
    with progress.bar(total=total, unit='frame', desc='story') as bar:
      made = generate(
        self.sampler,
        resolved,
        starts=read_starts(resolved),
        judge=self.judge(resolved),
      )
      for chunk in made:
        chunks.append(chunk.frames)
        bar.update(len(chunk.frames))
    return Film(
      frames=np.concatenate(chunks),
      fps=resolved.fps,
      scenes=tuple((s.prompt, s.frames or 0) for s in resolved.scenes),
      provenance={
        **self.provenance,
        'story': describe(resolved),
        'remarks': [remark.to_json() for remark in remarks],
      },
    )

  def remarks(self, story: Story) -> tuple[Remark, ...]:
    """Return the limits of the model that affect a resolved story.

    A remark names the words of a scene that no training caption had, the end
    of a prompt that is too long, or a size that the model was not trained on.

    Raises:
      UserError: the model cannot make frames of that size.
    """
    assert story.size is not None, 'the story is not resolved'
    self.sampler.models.tokenizer.grid(self.defaults.clip_frames, story.size)
    made = make_remarks(
      story,
      defaults=self.defaults,
      vocabulary=self.sampler.vocabulary,
      length=self.sampler.models.text.max_length,
      words=self.words,
    )
    return made + self._unread_prompts(story)

  def _unread_prompts(self, story: Story) -> tuple[Remark, ...]:
    """Name the scenes whose prompts a model of uncaptioned clips ignores."""
    if not isinstance(self.sampler, StillFirst):
      return ()
    return tuple(
      Remark(
        sentence=f'scene {number}: the model learnt from clips without '
        'captions, so that the prompt of a scene that continues frames has no '
        'effect; set cut: true, without a start',
        scene=number,
        unread=scene.prompt,
      )
      for number, scene in enumerate(story.scenes, start=1)
      if scene.start is not None or not (scene.cut or number == 1)
    )

  def judge(self, story: Story) -> Judge | None:
    """Return what reads the facts of the prompts of a story in its frames.

    None if the model knows neither StoryWorld nor the sprite world.
    """
    world = self.world(story.fps or 8.0)
    return None if world is None else PromptOracle(world=world)

  def world(self, fps: float) -> World | None:
    """Return the world of the model, in which clips of a frame rate are read.

    None if the model knows neither StoryWorld nor the sprite world.
    """
    name = worlds.name_world(self.subset, self.words)
    if name is None:
      return None
    return worlds.open_world(name, subset=self.subset, reader='', fps=fps)

  def encode(
    self, frames: Shaped[np.ndarray, '...']
  ) -> Int32[np.ndarray, '*b t h w']:
    """Turn frames into token ids.

    Args:
      frames: uint8 RGB, one clip [T, H, W, 3] or a batch [B, T, H, W, 3].
        H and W are multiples of the tokenizer's patch. If T is not
        1 + k * tubelet, the last frame is repeated until it is.

    Raises:
      UserError: the frames have another shape or dtype.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.shape[-1:] != (3,):
      raise UserError(
        f'the frames are {frames.dtype} of shape {list(frames.shape)}; they '
        'must be uint8 RGB, [T, H, W, 3]'
      )
    batch = _batch(frames, 'frames', '[T, H, W, 3]')
    tokenizer = self.sampler.models.tokenizer
    missing = (1 - batch.shape[1]) % tokenizer.tubelet
    batch = np.pad(batch, [(0, 0), (0, missing)] + [(0, 0)] * 3, mode='edge')
    tokenizer.grid(batch.shape[1], batch.shape[2:4])  # Checks the size.
    tokens = self.sampler.encode(batch)
    return tokens.reshape(*frames.shape[:-4], *tokens.shape[1:])

  def decode(
    self, tokens: Shaped[np.ndarray, '...']
  ) -> UInt8[np.ndarray, '*b T H W 3']:
    """Turn token ids into frames.

    Args:
      tokens: one clip [t, h, w] or a batch [B, t, h, w].

    Returns:
      T = 1 + (t - 1) * tubelet frames of each clip.

    Raises:
      UserError: the tokens have another shape, or are not ids of the codebook.
    """
    tokens = np.asarray(tokens)
    batch = _batch(tokens, 'tokens', '[t, h, w]')
    size = self.sampler.models.tokenizer.codebook_size
    is_whole = np.issubdtype(tokens.dtype, np.integer)
    if not is_whole or not 0 <= batch.min() <= batch.max() < size:
      raise UserError(
        f'the tokens are {tokens.dtype} from {batch.min()} to {batch.max()}; '
        f'they must be whole numbers from 0 to {size - 1}'
      )
    frames = self.sampler.decode(batch)
    return frames.reshape(*tokens.shape[:-3], *frames.shape[1:])

  @property
  def provenance(self) -> dict[str, Any]:
    """Return JSON values that describe what makes the films of this model."""
    seen: dict[str, Any] = {'source': self.source} if self.source else {}
    seen |= {'character': list(self.character)} if self.character else {}
    return {
      **({'license': self.license} if self.license else {}),
      'model': {'name': self.name, 'fingerprint': self.fingerprint, **seen},
      'versions': {
        'phenaki_jax': phenaki_jax.__version__,
        'jax': jax.__version__,
        'python': platform.python_version(),
      },
      'platform': jax.default_backend(),
    }


def _digest(frame: UInt8[np.ndarray, 'H W 3']) -> str:
  return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()


def _batch(array: np.ndarray, what: str, shape: str) -> np.ndarray:
  """Return an array of one clip or of a batch as that of a batch."""
  rank = shape.count(',') + 1
  if array.ndim not in (rank, rank + 1) or not array.size:
    raise UserError(
      f'the {what} have the shape {list(array.shape)}; it must be {shape}, or '
      'that of a batch of clips of equal length'
    )
  return array.reshape(-1, *array.shape[-rank:])
