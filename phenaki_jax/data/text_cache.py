"""A cache of text vectors: captions with what a frozen text encoder makes.

Each caption has as many vectors as it has token ids, its end included. They are
float32, or int8 with one scale per vector.
"""

import dataclasses
import functools
import hashlib

import numpy as np
import safetensors.numpy
from etils import epath
from jaxtyping import Float

from phenaki_jax.data.record_cache import CacheInfo, open_records
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import data_path

KIND = 'text'
PART = 'captions'
# The hash of the caption of every record, in order.
INDEX_FILE = 'captions.npy'
# The SentencePiece model of the encoder.
VOCABULARY_FILE = 'vocab.model'


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextExample:
  """A caption and its vectors.

  Attributes:
    caption: the text.
    vectors: [L, E] float32, without padding.
  """

  caption: str
  vectors: Float[np.ndarray, 'L E']

  def to_record(self, *, int8: bool) -> bytes:
    """Return the content of a record; int8 keeps 127 steps to each side."""
    caption = np.frombuffer(self.caption.encode(), np.uint8)
    arrays: dict[str, np.ndarray] = {'caption': caption}
    if int8:
      largest = np.abs(self.vectors).max(axis=-1, keepdims=True)
      scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
      arrays['vectors'] = np.rint(self.vectors / scale).astype(np.int8)
      arrays['scale'] = scale
    else:
      arrays['vectors'] = np.ascontiguousarray(self.vectors, np.float32)
    return safetensors.numpy.save(arrays)

  @classmethod
  def from_record(cls, record: bytes) -> 'TextExample':
    """Read what `to_record` returned."""
    arrays = safetensors.numpy.load(record)
    vectors = arrays['vectors']
    if 'scale' in arrays:
      vectors = vectors * arrays['scale']
    caption = arrays['caption'].tobytes().decode()
    return cls(caption=caption, vectors=vectors)


class TextCache:
  """A complete cache, opened for reading.

  Attributes:
    info: what it holds.
  """

  def __init__(self, folder: epath.PathLike):
    """Open the files.

    Raises:
      NotFoundError: the folder is not a cache of text vectors.
      UserError: the cache is unfinished or damaged.
    """
    self._folder = data_path(folder)
    self.info = CacheInfo.read(folder, KIND)
    self._records = open_records(folder, self.info, PART)
    path = self._folder / INDEX_FILE
    if not path.is_file():
      raise UserError(
        f'{path} is missing; run the command that builds the cache again'
      )
    with path.open('rb') as file:
      hashes = np.load(file, allow_pickle=False)
    self._order = np.argsort(hashes, kind='stable')
    self._hashes = hashes[self._order]

  @property
  def width(self) -> int:
    """Return E."""
    return self.info.details['text']['width']

  def padded(self, caption: str, length: int) -> Float[np.ndarray, 'L E']:
    """Return the vectors of a caption, with zeros up to a length.

    Raises:
      UserError: the cache has no such caption.
    """
    found = self.vectors(caption)
    return np.pad(found, [(0, length - len(found)), (0, 0)])

  def vectors(self, caption: str) -> Float[np.ndarray, 'L E']:
    """Return the vectors of a caption.

    Raises:
      UserError: the cache has no such caption.
    """
    digest = caption_hash(caption)
    place = int(np.searchsorted(self._hashes, digest))
    # Equal hashes of different captions follow each other.
    while place < len(self._hashes) and self._hashes[place] == digest:
      record = self._records[int(self._order[place])]
      example = TextExample.from_record(record)
      if example.caption == caption:
        return example.vectors
      place += 1
    raise UserError(
      f'the cache of text in {self._folder} has no caption {caption!r:.80}; '
      f'build it again from these data with {self.info.command}'
    )


@functools.lru_cache(1024)
def caption_hash(caption: str) -> np.uint64:
  """Return the first 64 bits of a hash of a caption."""
  digest = hashlib.blake2b(caption.encode(), digest_size=8).digest()
  return np.frombuffer(digest, '<u8')[0]
