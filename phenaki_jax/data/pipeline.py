"""The data loader: the batch of a step, the same on every run and resume.

The global batch of step k is a pure function of (config, manifests, k). Its
composition is the same at every step, and each process loads its own rows of
it. The data position in a checkpoint is therefore one integer, which stays
valid when the number of processes changes.
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from phenaki_jax import config as config_io
from phenaki_jax.data import config as config_lib
from phenaki_jax.data import examples, manifest, schema
from phenaki_jax.data import history as history_lib
from phenaki_jax.data import spec as spec_lib
from phenaki_jax.data.cache import FrameCache
from phenaki_jax.data.loader import Loader
from phenaki_jax.data.text_cache import TextCache
from phenaki_jax.data.token_cache import (
  CachedExamples,
  TokenCache,
  TokenExample,
)
from phenaki_jax.errors import UserError

_log = logging.getLogger(__name__)

_KINDS = {'clips': schema.CLIP, 'images': schema.IMAGE}
# How and from where examples are loaded does not change their content.
NOT_IN_FINGERPRINT = (
  *('num_threads', 'prefetch', 'frame_cache_bytes', 'token_cache'),
)
# The composition of a batch does not change the examples of either kind.
OF_THE_BATCH = ('batch_size', 'image_share', 'row_multiple')


class Pipeline(Loader):
  """Loads this process' rows of every batch.

  Attributes:
    config: the examples of the batches.
    composition: numbers of clips and images of the global batch.
    spec: the arrays of the global batch.
    content: what determines the examples of each kind, as JSON values.
    fingerprint: hash of the config and the content of the manifests. A run
      resumes only from a checkpoint with the same fingerprint.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    tokenize: Callable[[str], np.ndarray],
    *,
    tubelet: int,
    text_length: int,
    process_index: int = 0,
    process_count: int = 1,
    cache: TokenCache | None = None,
    reencoded: bool = False,
    text_cache: TextCache | None = None,
    multiple: int = 1,
    depth: bool = False,
    history: int = 0,
  ):
    """Open the sources.

    Args:
      config: the examples of the batches.
      tokenize: turns a caption into int32 [L]: token ids, an end mark, zeros.
      tubelet: frames per latent frame of the tokenizer.
      text_length: L.
      process_index: index of this process.
      process_count: number of processes that share each batch.
      cache: the tokens of the examples, which the batches then hold instead
        of pixels; the caller checks that they are of these data.
      reencoded: whether the batches of a cache have `reencoded`.
      text_cache: the vectors of the captions, which the batches then hold
        beside their token ids.
      multiple: see `spec.batch_spec`.
      depth: whether clips have their depth, which only StoryWorld knows.
      history: see `spec.batch_spec`.

    Raises:
      UserError: the frames do not fit the tubelet, the batch cannot be divided
        among the processes, a manifest cannot be opened, or the cache has no
        examples of a kind.
      schema.EmptySplitError: the sources have no example of a kind that the
        config requests.
    """
    if not 0 <= process_index < process_count:
      raise ValueError(f'process {process_index} of {process_count}')
    super().__init__(config)
    self.composition = spec_lib.composition(config, tubelet=tubelet)
    if config.image_share > 0 and not self.composition.num_images:
      _log.warning(
        'data.image_share=%g of %d examples is less than one image, so the '
        'batches have no images.',
        config.image_share,
        config.batch_size,
      )
    self.spec = spec_lib.batch_spec(
      config,
      tubelet=tubelet,
      text_length=text_length,
      grid=cache.grid if cache else None,
      reencoded=reencoded,
      text_width=text_cache.width if text_cache else 0,
      multiple=multiple,
      depth=depth,
      history=history,
    )
    self._process_spec = spec_lib.process_spec(self.spec, process_count)
    self._process_index = process_index
    self._texts: dict[str, Callable[[str], np.ndarray]] = {'text': tokenize}
    self._tubelet = tubelet
    manifests = [
      manifest.Manifest(source.path) if source.layout == 'manifest' else None
      for source in config.sources
    ]
    if depth and any(one is not None for one in manifests):
      raise UserError(
        'the depth of manifests is not known; set task.depth_weights to a file '
        'of the weights of DPT, which estimates it, or train on StoryWorld'
      )
    if history and all(one and not one.has_films for one in manifests):
      raise UserError(
        'task.history_share and task.character_share need clips with earlier '
        'scenes, but data.sources has no films of several scenes; leave them '
        'out, or add some'
      )
    frames = FrameCache(config.frame_cache_bytes)
    request = schema.ExampleRequest(
      size=config.size,
      frames=config.frames,
      fps=config.fps,
      tubelet=tubelet,
      depth=depth,
      history=history,
    )
    self._examples = {
      part: examples.MixedExamples(
        config, request, _KINDS[part], manifests, frames
      )
      for part in self.spec
    }
    self._cached: dict[str, CachedExamples] = {}
    fields = _fields(config, manifests)
    model: dict[str, Any] = {'tubelet': tubelet, 'text_length': text_length}
    if history:
      model['history'] = history
    if cache:
      # The order repeats after the examples of the cache.
      model |= {f'cached_{part}': cache.sizes[part] for part in self.spec}
      for part in self.spec:
        self._cached[part] = cache.examples(part, seed=config.seed)
    if text_cache:
      info = text_cache.info
      model['text_cache'] = [info.key, info.details['int8']]
      self._texts['text_vectors'] = functools.partial(
        text_cache.padded, length=text_length
      )
    text = json.dumps({'config': fields, **model}, sort_keys=True)
    self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
    for name in OF_THE_BATCH:
      fields.pop(name, None)
    self.content = {**fields, 'tubelet': tubelet}
    if history:
      self.content['history'] = history
    self._cache = cache

  def batch(self, step: int) -> spec_lib.Batch:
    """Return this process' rows of the global batch of `step`."""
    if step < 0:
      raise UserError(f'step is {step}; it must not be negative')
    batch = {
      part: _stack(found, self._process_spec[part], self._texts)
      for part, found in self.examples(step).items()
    }
    if 'clips' in batch and not self.config.clip_captions:
      empty = self._texts['text']('')
      assert (batch['clips']['text'] == empty).all(), 'a clip has a caption'
    return spec_lib.check_batch(
      batch, self._process_spec, tubelet=self._tubelet
    )

  def examples(
    self, step: int
  ) -> dict[str, Sequence[schema.Example] | Sequence[TokenExample]]:
    """Return the examples of this process' rows of a step, by part."""
    found: dict[str, Any] = {}
    for part, arrays in self._process_spec.items():
      rows = arrays['text'].shape[0]
      total = self.composition.counts[part]
      first = self._process_index * rows
      dataset: Any = (self._cached or self._examples)[part]
      found[part] = [
        dataset[step * total + (first + row) % total] for row in range(rows)
      ]
    if 'clips' in found and not self.config.clip_captions:
      found['clips'] = [
        dataclasses.replace(clip, caption='') for clip in found['clips']
      ]
    return found

  def captions(self, limit: int) -> Iterator[str]:
    """Yield the captions of up to `limit` examples, clips and images in turn.

    A vocabulary is learned from them. Each example of a manifest is read at
    most once. The captions of earlier scenes follow that of their clip.
    Captions of clips that are never read are left out.
    """
    parts = [
      mixed.captions()
      for part, mixed in self._examples.items()
      if part != 'clips' or self.config.clip_captions
    ]
    count = 0
    while parts and count < limit:
      for part in list(parts):
        captions = next(part, None)
        if captions is None:
          parts.remove(part)
        elif count < limit:
          count += 1
          yield from captions

  def describe(self, latent_frames: int) -> str:
    """Describe the composition of the batches, for the log.

    Args:
      latent_frames: latent frames of a clip; 0 for a model without tokens.
    """
    made = self.composition
    first = (
      f'Every batch holds {made.num_clips} clips and {made.num_images} images: '
      f'images are {made.image_share:.3g} of its examples (requested: '
      f'{self.config.image_share:.3g})'
    )
    if latent_frames:
      first += f' and {made.token_share(latent_frames):.3g} of its tokens'
    lines = [f'{first}.']
    for part, mixed in self._examples.items():
      sources = ', '.join(
        f'{share.realised:.3g} (requested: {share.requested:.3g}) from '
        f'{share.name}'
        for share in mixed.shares
      )
      lines.append(f'Shares of the {part}: {sources}.')
      if self._cache:
        size, count = self._cache.sizes[part], made.counts[part]
        lines.append(
          f'The tokens of {size} {part} are read from {self._cache.folder}; '
          f'they last for {size / count:.6g} steps, and are then repeated in '
          'other orders.'
        )
    return '\n'.join(lines)

  @property
  def latent_frames(self) -> int:
    """Return the latent frames of a clip."""
    return 1 + (self.config.frames - 1) // self._tubelet

  @property
  def replaced(self) -> int:
    """Return how many broken examples this process has replaced."""
    return sum(mixed.replaced for mixed in self._examples.values())


def _fields(
  config: config_lib.DataConfig, manifests: list[manifest.Manifest | None]
) -> dict[str, Any]:
  """Return the fields that determine the batches, as JSON values."""
  fields = config_io.to_dict(config)
  for name in NOT_IN_FINGERPRINT:
    del fields[name]
  if config.row_multiple == 1:
    # The fingerprints of runs that were started before there were others.
    del fields['row_multiple']
  if not config.buckets:
    del fields['buckets']
  if config.clip_captions:
    del fields['clip_captions']
  for source, content in zip(fields['sources'], manifests, strict=True):
    source['path'] = content.hash if content else ''
  return fields


def _stack(
  found: Sequence[schema.Example] | Sequence[TokenExample],
  spec: dict[str, spec_lib.ArraySpec],
  texts: dict[str, Callable[[str], np.ndarray]],
) -> dict[str, np.ndarray]:
  """Stack examples into the arrays of a part.

  `texts` has the functions that make arrays of captions, by name.
  """
  arrays = {}
  for name, array in spec.items():
    if name.startswith(history_lib.PREFIX):
      arrays[name] = np.zeros(array.shape, array.dtype)
      text = texts.get(name.removeprefix(history_lib.PREFIX))
      history_lib.fill(name, found, arrays[name], text)
      continue
    values = [
      texts[name](one.caption) if name in texts else getattr(one, name)
      for one in found
    ]
    arrays[name] = np.stack(values).astype(array.dtype, copy=False)
  return arrays
