"""Endless numbered streams of examples, one for clips and one for images.

Number `i` of a stream is a pure function of the config, the manifest and `i`.
StoryWorld renders it; a manifest is shuffled anew in every epoch, and where
in a clip the frames start is drawn from (seed, i), which differs from epoch
to epoch.
"""

import logging
import threading
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import grain
import numpy as np

from phenaki_jax.data import cache as cache_lib
from phenaki_jax.data import config as config_lib
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import schema
from phenaki_jax.data.sources import files, storyworld
from phenaki_jax.errors import UserError

_log = logging.getLogger(__name__)

_MAX_REPLACEMENTS = 100  # broken neighbours in a row before giving up
_STREAM = {schema.CLIP: 0, schema.IMAGE: 1}  # streams of chance


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


class ManifestStream:
  """Draw the records of one kind of a manifest, shuffled in every epoch.

  A record that turns out broken is never left out silently: the next one in
  the manifest takes its place, on every run the same, and it is counted.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    kind: str,
    content: manifest_lib.Manifest,
    cache: cache_lib.FrameCache,
  ):
    """Shuffle the rows.

    Raises:
      EmptySplitError: the manifest has no record of the kind in the split.
    """
    rows = content.rows(
      kind, split=config.split, heldout_share=config.heldout_share
    )
    if not len(rows):
      share = '0' if kind == schema.IMAGE else '1'
      raise schema.EmptySplitError(
        f'the manifest {config.manifest} holds no {kind}s in the split '
        f'{config.split!r}, but data.image_share={config.image_share:g} asks '
        f'for some; set data.image_share={share} or build with more sources'
      )
    self._config = config
    self._kind = kind
    self._content = content
    self._cache = cache
    self._rows = rows
    self._order = (
      grain.MapDataset.range(len(rows))
      .seed((config.seed * len(_STREAM) + _STREAM[kind]) % 2**32)
      .shuffle()
      .repeat()
    )
    self._broken: set[int] = set()
    self._lock = threading.Lock()
    self.replaced = 0

  def __getitem__(self, index: int) -> schema.Example:
    """Decode example `index`.

    Raises:
      UserError: so many records in a row are broken that the data must have
        been lost.
    """
    seed = (self._config.seed, _STREAM[self._kind], index)
    view = schema.View(
      size=self._config.size,
      frames=self._config.frames,
      fps=self._config.fps,
      position=np.random.default_rng(seed).random(),
    )
    place = int(self._order[index])
    for step in range(min(_MAX_REPLACEMENTS, len(self._rows))):
      row = int(self._rows[(place + step) % len(self._rows)])
      try:
        return self._load(row, view)
      except schema.DecodeError as error:
        self._count(row, error)
    raise UserError(
      f'{step + 1} {self._kind}s in a row cannot be read; check the manifest '
      f'with `phenaki data check {self._config.manifest}`'
    )

  def captions(self) -> Iterator[str]:
    """Yield the caption of every record of the split, in the first order."""
    for index in range(len(self._rows)):
      yield self._content.caption(int(self._rows[int(self._order[index])]))

  def _load(self, row: int, view: schema.View) -> schema.Example:
    record, reader = self._content[row], self._content.reader(row)
    if isinstance(reader, files.FileReader):
      return self._cache.example(reader, record, view)
    return reader.example(record, view)

  def _count(self, row: int, error: schema.DecodeError) -> None:
    with self._lock:
      self.replaced += 1
      is_new = row not in self._broken
      self._broken.add(row)
    if is_new:
      _log.warning(
        '%s is broken since the manifest was built (%s); the next %s takes '
        'its place',
        self._content[row].key,
        error,
        self._kind,
      )
