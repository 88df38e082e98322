"""The loader: the batch of a step, the same on every run and every resume.

The global batch of step k is a pure function of (config, manifest, k). It has
the same composition at every step; each process makes its own rows of it. So
the data position in a checkpoint is one integer, and it survives any change
of the number of processes. Loader threads make batches ahead, a bounded
number of them, in order.
"""

import hashlib
import json
import sys
import weakref
from collections.abc import Callable, Iterator

import grain
import numpy as np

from phenaki_jax import config as config_io
from phenaki_jax.data import cache, manifest, mixture, schema, streams
from phenaki_jax.data import config as config_lib
from phenaki_jax.errors import UserError

# How examples are made ready does not change what they are.
_NOT_IN_FINGERPRINT = ('manifest', 'num_threads', 'prefetch', 'cache_bytes')


class Pipeline:
  """Hand out this process' rows of every batch.

  Attributes:
    config: what the batches are.
    composition: clips and images of the global batch, and their shares.
    fingerprint: hash of the config and the manifest; a run may only go on
      from a checkpoint with the same.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    tokenize: Callable[[str], np.ndarray],
    *,
    process_index: int = 0,
    process_count: int = 1,
  ):
    """Open the source.

    Args:
      config: what the batches are.
      tokenize: turns a caption into int32 [L]: ids, an end mark, zeros.
      process_index: of this process.
      process_count: processes that share each batch.

    Raises:
      UserError: the batch cannot be divided among the processes, or the
        manifest does not hold what the config asks for.
    """
    self.config = config
    self.composition = mixture.compose(
      batch_size=config.batch_size,
      image_share=config.image_share,
    )
    self._tokenize = tokenize
    self._open: weakref.WeakSet[Batches] = weakref.WeakSet()
    counts = {
      'clips': self.composition.num_clips,
      'images': self.composition.num_images,
    }
    self._rows = {
      part: mixture.rows_of_process(
        count,
        part=part,
        process_index=process_index,
        process_count=process_count,
      )
      for part, count in counts.items()
      if count
    }
    self._counts = counts
    self._streams, content = _open_streams(config, tuple(self._rows))
    self.fingerprint = _fingerprint(config, content)

  def batch(self, step: int) -> schema.Batch:
    """Return this process' rows of the global batch of `step`."""
    if step < 0:
      raise UserError(f'step is {step}; it cannot be negative')
    batch = {}
    for part, rows in self._rows.items():
      first = step * self._counts[part]
      examples = [self._streams[part][first + row] for row in rows]
      batch[part] = _stack(part, examples, self._tokenize)
    return schema.check_batch(
      batch, size=self.config.size, frames=self.config.frames
    )

  def iterate(self, start_step: int = 0) -> 'Batches':
    """Return the batches from `start_step` on, made ahead by threads."""
    if start_step < 0:
      raise UserError(f'start_step is {start_step}; it cannot be negative')
    steps = grain.MapDataset.range(start_step, sys.maxsize)
    batches = Batches(
      steps.map(self.batch),
      num_threads=self.config.num_threads,
      prefetch=self.config.prefetch,
    )
    self._open.add(batches)
    return batches

  def close(self) -> None:
    """Stop the threads of every iterator that is still in use."""
    for batches in list(self._open):
      batches.close()

  def captions(self, limit: int) -> Iterator[str]:
    """Yield up to `limit` captions, of clips and images in turn.

    For learning a vocabulary. A manifest yields each caption of the split at
    most once.
    """
    sources = [self._streams[part].captions() for part in self._rows]
    given = 0
    while sources and given < limit:
      for source in list(sources):
        caption = next(source, None)
        if caption is None:
          sources.remove(source)
        elif given < limit:
          given += 1
          yield caption

  @property
  def replaced(self) -> int:
    """Return how many broken examples were replaced in this process."""
    return sum(stream.replaced for stream in self._streams.values())


class Batches:
  """Iterate over batches that threads make ahead; close it when done."""

  def __init__(
    self, dataset: grain.MapDataset, *, num_threads: int, prefetch: int
  ):
    """Start at the first element of `dataset`.

    Args:
      dataset: the batches by position.
      num_threads: threads that make batches; 0 uses the caller's.
      prefetch: batches made ahead at most.
    """
    ahead = prefetch if num_threads else 0
    options = grain.ReadOptions(
      num_threads=num_threads if ahead else 0, prefetch_buffer_size=ahead
    )
    self._iterator = iter(dataset.to_iter_dataset(options))

  def __iter__(self) -> 'Batches':
    """Return itself."""
    return self

  def __next__(self) -> schema.Batch:
    """Return the next batch, waiting for it where needed."""
    return next(self._iterator)

  def close(self) -> None:
    """Stop the threads."""
    self._iterator.close()


def _open_streams(
  config: config_lib.DataConfig, parts: tuple[str, ...]
) -> tuple[dict[str, streams.Stream], str]:
  """Open the stream of each part; return them and a hash of the content."""
  kinds = {'clips': schema.CLIP, 'images': schema.IMAGE}
  if config.source == 'storyworld':
    return {
      part: streams.StoryWorldStream(config, kinds[part]) for part in parts
    }, ''
  content = manifest.Manifest(config.manifest)
  cached = cache.FrameCache(config.cache_bytes)
  return {
    part: streams.ManifestStream(config, kinds[part], content, cached)
    for part in parts
  }, content.hash


def _fingerprint(config: config_lib.DataConfig, content: str) -> str:
  fields = config_io.to_dict(config)
  for name in _NOT_IN_FINGERPRINT:
    del fields[name]
  text = json.dumps({'config': fields, 'content': content}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _stack(
  part: str,
  examples: list[schema.Example],
  tokenize: Callable[[str], np.ndarray],
) -> dict[str, np.ndarray]:
  """Stack examples into the arrays of a part."""
  arrays = {
    'pixels': np.stack([example.pixels for example in examples]),
    'text': np.stack([tokenize(example.caption) for example in examples]),
  }
  if part == 'clips':
    for name in ('num_frames', 'context_frames'):
      values = [getattr(example, name) for example in examples]
      arrays[name] = np.array(values, np.int32)
  return arrays
