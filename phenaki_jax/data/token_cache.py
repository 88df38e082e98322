"""A cache of tokens: the examples of a loader, with tokens for pixels.

Record `i` of a part is example `i` of the loader: its tokens, its caption, what
the batch tells of its frames, and the earlier scenes of its film.
"""

import dataclasses
import functools
import threading

import grain
import numpy as np
import safetensors.numpy
from etils import epath

from phenaki_jax.data.record_cache import CacheInfo, open_records
from phenaki_jax.data.schema import EarlierScene
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import data_path

KIND = 'tokens'

_NUMBERS = ('num_frames', 'context_frames')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenExample:
  """One example of a cache.

  Attributes:
    tokens: ids [t, h, w] of a clip, [h, w] of an image.
    caption: text that describes it.
    reencoded: as `tokens`, but those of the context are encoded again from
      decoded frames; None in a cache without them.
    num_frames: number of leading frames that are not padding.
    context_frames: number of leading frames of an earlier scene.
    history: earlier scenes, whose frames are tokens [h, w].
  """

  tokens: np.ndarray
  caption: str
  reencoded: np.ndarray | None = None
  num_frames: int = 1
  context_frames: int = 0
  history: tuple[EarlierScene, ...] = ()

  def to_record(self) -> bytes:
    """Return the example as the content of a record."""
    arrays = {
      'tokens': np.ascontiguousarray(self.tokens),
      'caption': _as_bytes(self.caption),
      'numbers': np.array([self.num_frames, self.context_frames], np.int32),
    }
    if self.reencoded is not None:
      arrays['reencoded'] = np.ascontiguousarray(self.reencoded)
    for slot, scene in enumerate(self.history):
      arrays[f'history_{slot}'] = np.ascontiguousarray(scene.frame)
      arrays[f'history_{slot}_caption'] = _as_bytes(scene.caption)
    return safetensors.numpy.save(arrays)

  @classmethod
  def from_record(cls, record: bytes) -> 'TokenExample':
    """Read what `to_record` returned."""
    arrays = safetensors.numpy.load(record)
    numbers = dict(zip(_NUMBERS, arrays['numbers'].tolist(), strict=True))
    slots = [f'history_{slot}' for slot in range(len(arrays))]
    return cls(
      tokens=arrays['tokens'],
      caption=arrays['caption'].tobytes().decode(),
      history=tuple(
        EarlierScene(
          frame=arrays[slot],
          caption=arrays[f'{slot}_caption'].tobytes().decode(),
        )
        for slot in slots
        if slot in arrays
      ),
      reencoded=arrays.get('reencoded'),
      **numbers,
    )


def _as_bytes(text: str) -> np.ndarray:
  return np.frombuffer(text.encode(), np.uint8)


class TokenCache:
  """A complete cache, opened for reading.

  Attributes:
    folder: of the cache.
    info: what it holds.
    sizes: number of its clips and images, by part.
  """

  def __init__(self, folder: epath.PathLike):
    """Open the files.

    Raises:
      NotFoundError: the folder is not a cache of tokens.
      UserError: the cache is unfinished or damaged.
    """
    self.folder = data_path(folder)
    self.info = CacheInfo.read(folder, KIND)
    self._records = {
      part: open_records(folder, self.info, part) for part in self.info.counts
    }
    self.sizes = self.info.sizes

  @property
  def grid(self) -> tuple[int, int, int]:
    """Return the token grid of a clip."""
    t, h, w = self.info.details['grid']
    return t, h, w

  @property
  def has_reencoded(self) -> bool:
    """Return whether the clips have `TokenExample.reencoded`."""
    return self.info.details['reencoded']

  def examples(self, part: str, *, seed: int) -> 'CachedExamples':
    """Return the infinite dataset of a part.

    Raises:
      UserError: the cache has no such part.
    """
    if part not in self._records:
      raise UserError(
        f'the cache of tokens in {self.folder} has no {part}; set '
        f'data.image_share={int(part == "clips")}, or build it with some'
      )
    return CachedExamples(self._records[part], seed=seed)


class CachedExamples:
  """The examples of a cache, repeated indefinitely.

  The first epoch has the order of the loader whose examples were encoded; each
  later epoch has an order of its own.
  """

  def __init__(
    self, records: grain.sources.ArrayRecordDataSource, *, seed: int
  ):
    self._records = records
    self._seed = seed
    self._lock = threading.Lock()
    self._order = functools.lru_cache(2)(self._shuffled)

  def __getitem__(self, index: int) -> TokenExample:
    """Read example `index`."""
    epoch, place = divmod(index, len(self._records))
    if epoch:
      with self._lock:  # several threads must not shuffle the same epoch
        place = int(self._order(epoch)[place])
    return TokenExample.from_record(self._records[place])

  def _shuffled(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((self._seed, epoch))
    return rng.permutation(len(self._records))
