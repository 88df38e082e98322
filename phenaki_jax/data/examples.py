"""Infinite datasets of examples of one kind, clips or images.

Example `i` of a dataset is a pure function of the config, the manifests and
`i`. StoryWorld renders it. A manifest is shuffled anew in every epoch, and the
start of a clip is drawn from (seed, i), so it differs from epoch to epoch.
"""

import dataclasses
import itertools
import logging
import sys
import threading
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from phenaki_jax import earlier_scenes
from phenaki_jax.data import cache as cache_lib
from phenaki_jax.data import config as config_lib
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import mixture, schema, video
from phenaki_jax.data.sources import base, storyworld
from phenaki_jax.errors import UserError

_log = logging.getLogger(__name__)

_MAX_REPLACEMENTS = 100  # consecutive broken records before an error
_KINDS = (schema.CLIP, schema.IMAGE)  # their numbers seed the random draws


class StoryWorldExamples:
  """Examples of the built-in world, without repetition.

  Attributes:
    epoch: number of examples after which they repeat.
    replaced: number of broken examples that were replaced so far.
  """

  epoch = sys.maxsize
  replaced = 0  # Rendering cannot fail.

  def __init__(
    self,
    config: config_lib.DataConfig,
    request: schema.ExampleRequest,
    kind: str,
    subset: str,
  ):
    self._request = request
    self._kind = kind
    self._reader = storyworld.StoryWorldReader(
      subset=subset,
      seed=config.seed,
      split=config.split,
      continuation_share=config.continuation_share,
      context_frames=config.context_frames,
    )

  def __getitem__(self, index: int) -> schema.Example:
    """Render example `index`."""
    return self._reader.render(self._kind, index, self._request)

  def captions(self, index: int) -> tuple[str, ...]:
    """Return the captions of example `index` and of its earlier scenes."""
    history = self._request.history
    return self._reader.captions(self._kind, index, history=history)


class ManifestExamples:
  """The records of one kind of a manifest, shuffled anew in every epoch.

  A record that turns out to be broken is replaced by the next one in the
  manifest, the same on every run, and is counted. A share of the scenes of
  story films continues the scene before. The attributes are those of
  `StoryWorldExamples`.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    request: schema.ExampleRequest,
    kind: str,
    manifest: manifest_lib.Manifest,
    cache: cache_lib.FrameCache,
  ):
    self._seeds = (config.seed, _KINDS.index(kind))
    self._request = request
    self._kind = kind
    self._manifest = manifest
    self._cache = cache
    # The records of which all frames are in the cache, by row.
    self._kept: dict[int, tuple[schema.Record, video.TimedFrames]] = {}
    self._continuation_share = 0.0
    if kind == schema.CLIP and manifest.has_films:
      self._continuation_share = config.continuation_share
      self._context_frames = config.context_frames
      if self._continuation_share:
        _check_context(config.context_frames, request)
    self._rows = manifest.rows(
      kind, split=config.split, heldout_share=config.heldout_share
    )
    self._order = (
      grain.MapDataset.range(len(self._rows))
      .seed((config.seed * len(_KINDS) + _KINDS.index(kind)) % 2**32)
      .shuffle()
      .repeat()
    )
    self._broken: set[int] = set()
    self._lock = threading.Lock()
    self.epoch = len(self._rows)
    self.replaced = 0

  def __getitem__(self, index: int) -> schema.Example:
    """Decode example `index`.

    Raises:
      UserError: so many consecutive records are broken that the data must
        have been moved or deleted.
    """
    rng = np.random.default_rng((*self._seeds, index))
    position, draw = rng.random(2).tolist()
    context = draw < self._continuation_share
    request = dataclasses.replace(
      self._request,
      position=position,
      context_frames=self._context_frames if context else 0,
    )
    place = int(self._order[index])
    attempts = min(_MAX_REPLACEMENTS, self.epoch)
    for attempt in range(attempts):
      row = int(self._rows[(place + attempt) % self.epoch])
      try:
        return self._with_history(row, self._load(row, request))
      except schema.DecodeError as error:
        self._count(row, error)
    raise UserError(
      f'{attempts} consecutive {self._kind}s cannot be read; check the '
      f'manifest with `phenaki data check {self._manifest.folder}`'
    )

  def captions(self, index: int) -> tuple[str, ...]:
    """Return the captions of example `index` and of its earlier scenes."""
    row = int(self._rows[int(self._order[index])])
    return tuple(map(self._manifest.caption, (row, *self._earlier(row))))

  def _earlier(self, row: int) -> list[int]:
    """Return the scenes of the same film that a caption speaks of most."""
    slots = self._request.history
    if not slots or self._kind == schema.IMAGE or not self._manifest.has_films:
      return []
    rows = self._manifest.earlier(row)
    captions = [self._manifest.caption(one) for one in rows]
    prompt = self._manifest.caption(row)
    return [
      rows[place] for place in earlier_scenes.choose(captions, prompt, slots)
    ]

  def _with_history(self, row: int, example: schema.Example) -> schema.Example:
    """Add the earlier scenes of the film."""
    request = dataclasses.replace(self._request, frames=1)
    scenes = tuple(
      schema.EarlierScene(
        frame=self._load(earlier, request).pixels[0],
        caption=self._manifest.caption(earlier),
      )
      for earlier in self._earlier(row)
    )
    return dataclasses.replace(example, history=scenes)

  def _load(self, row: int, request: schema.ExampleRequest) -> schema.Example:
    kept = self._kept.get(row)
    if kept is not None:
      return cache_lib.cut(kept[0], request, kept[1])
    record, reader = self._manifest[row], self._manifest.reader(row)
    if not isinstance(reader, base.TimedReader):
      return reader.example(record, request)
    timed = self._cache.timed(reader, record, request.size)
    if timed is None:
      return reader.example(record, request)
    self._kept[row] = record, timed
    return cache_lib.cut(record, request, timed)

  def _count(self, row: int, error: schema.DecodeError) -> None:
    with self._lock:
      self.replaced += 1
      is_new = row not in self._broken
      self._broken.add(row)
    if is_new:
      _log.warning(
        '%s has been broken since the manifest was built (%s); it is replaced '
        'by the next %s',
        self._manifest[row].key,
        error,
        self._kind,
      )


def _check_context(frames: int, request: schema.ExampleRequest) -> None:
  """Check that a number of context frames fits into a clip."""
  if frames >= request.frames or (frames - 1) % request.tubelet:
    raise UserError(
      f'data.context_frames is {frames}; it must be 1 + k * {request.tubelet} '
      f'and less than data.frames={request.frames}, or set '
      'data.continuation_share=0'
    )


class MixedExamples:
  """Several datasets of one kind, interleaved by their weights.

  Attributes:
    shares: of every source of the config, in order.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    request: schema.ExampleRequest,
    kind: str,
    manifests: Sequence[manifest_lib.Manifest | None],
    cache: cache_lib.FrameCache,
  ):
    """Open the datasets of the sources that have examples of the kind.

    Args:
      config: names the sources.
      request: size and frames of the examples.
      kind: 'clip' or 'image'.
      manifests: the manifest of each source; None for StoryWorld.
      cache: keeps decoded records of manifests.

    Raises:
      schema.EmptySplitError: no source has an example of the kind in the
        split.
    """
    self._datasets: list[StoryWorldExamples | ManifestExamples] = [
      StoryWorldExamples(config, request, kind, source.subset)
      if manifest is None
      else ManifestExamples(config, request, kind, manifest, cache)
      for source, manifest in zip(config.sources, manifests, strict=True)
    ]
    weights = mixture.integer_weights([s.weight for s in config.sources])
    self._weights = [
      weight if dataset.epoch else 0
      for weight, dataset in zip(weights, self._datasets, strict=True)
    ]
    if not any(self._weights):
      names = ', '.join(source.name for source in config.sources)
      share = '0' if kind == schema.IMAGE else '1'
      raise schema.EmptySplitError(
        f'{names} has no {kind}s in the split {config.split!r}, but '
        f'data.image_share={config.image_share:g} requests some; set '
        f'data.image_share={share} or build with more sources'
      )
    self.shares = tuple(
      mixture.SourceShare(
        name=source.name,
        requested=weight / sum(weights),
        realised=used / sum(self._weights),
      )
      for source, weight, used in zip(
        config.sources, weights, self._weights, strict=True
      )
    )

  def __getitem__(self, index: int) -> schema.Example:
    """Return example `index`."""
    number, place = mixture.source_at(index, self._weights)
    return self._datasets[number][place]

  @property
  def replaced(self) -> int:
    """Return the number of broken examples that were replaced so far."""
    return sum(dataset.replaced for dataset in self._datasets)

  def captions(self) -> Iterator[tuple[str, ...]]:
    """Yield the captions of each example of the first epochs, in order.

    The captions of its earlier scenes follow its own.
    """
    unfinished = {i for i, weight in enumerate(self._weights) if weight}
    for index in itertools.count():
      number, place = mixture.source_at(index, self._weights)
      if place < self._datasets[number].epoch:
        yield self._datasets[number].captions(place)
      else:
        unfinished.discard(number)
        if not unfinished:
          return


def pick(
  manifest: manifest_lib.Manifest,
  kind: str,
  *,
  count: int,
  request: schema.ExampleRequest,
  seed: int = 0,
) -> list[schema.Example]:
  """Decode at most `count` random records of a kind, without repeats.

  Raises:
    schema.DecodeError: a record has been damaged since the build.
  """
  rows = np.random.default_rng(seed).permutation(manifest.rows(kind))[:count]
  return [
    manifest.reader(int(row)).example(manifest[int(row)], request)
    for row in rows
  ]
