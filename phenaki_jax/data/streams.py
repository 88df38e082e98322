"""Endless numbered streams of examples, one for clips and one for images.

Number `i` of a stream is a pure function of the config, the manifest and `i`.
StoryWorld renders it; a manifest is shuffled anew in every epoch, and where
in a clip the frames start is drawn from (seed, i), which differs from epoch
to epoch.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from phenaki_jax.data import config as config_lib
from phenaki_jax.data import schema
from phenaki_jax.data.sources import storyworld


@runtime_checkable
class Stream(Protocol):
  """Number examples of one kind, without end."""

  def __getitem__(self, index: int) -> schema.Example:
    """Return example `index`."""

  @property
  def replaced(self) -> int:
    """Return how many broken examples were replaced so far."""

  def captions(self) -> Iterator[str]:
    """Yield the captions of one epoch, or without end."""


class StoryWorldStream:
  """Render examples of the built-in world, each only once, for ever."""

  replaced = 0  # Nothing made by code is broken.

  def __init__(self, config: config_lib.DataConfig, kind: str):
    self._view = schema.View(
      size=config.size, frames=config.frames, fps=config.fps
    )
    self._kind = kind
    self._reader = storyworld.StoryWorldReader(
      subset=config.subset,
      seed=config.seed,
      split=config.split,
      continuation_share=config.continuation_share,
      context_frames=config.context_frames,
    )

  def __getitem__(self, index: int) -> schema.Example:
    """Render example `index`."""
    return self._reader.render(self._kind, index, self._view)

  def captions(self) -> Iterator[str]:
    """Yield the captions of examples 0, 1, ... without end."""
    index = 0
    while True:
      yield self._reader.caption(self._kind, index)
      index += 1
