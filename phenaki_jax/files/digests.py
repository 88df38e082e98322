"""Digests of arrays, JSON values and files."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from phenaki_jax.files.paths import DataPath

_ONE = np.uint64(1)
_WORDS = 1 << 15


def digest_array(array: np.ndarray) -> str:
  """Return the BLAKE2b digest of an array's dtype, shape and content."""
  content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  hasher = hashlib.blake2b(digest_size=16)
  hasher.update(f'{array.dtype.name} {array.shape} '.encode())
  hasher.update(content.data)
  return hasher.hexdigest()


def sum_block(
  block: np.ndarray, *, shape: Sequence[int], start: Sequence[int]
) -> int:
  """Return what a block adds to the checksum of the array it is cut from.

  The checksum of an array is the sum, modulo 2**64, of a number for each of its
  32-bit words; that number depends on the word and on its place in the array.
  The sums of the blocks of an array therefore add up to its checksum, in
  whatever way it is divided. A change of one word always changes the checksum,
  any other change does with a probability of 1 - 2**-64, if it is no attack.

  Args:
    block: the content of the block.
    shape: the shape of the whole array.
    start: the place of the block's first element in the array.
  """
  words: np.ndarray = np.atleast_1d(np.ascontiguousarray(block))
  *above, left = start or (0,)
  if words.itemsize < 4:
    words = words.view(f'u{words.itemsize}')
  else:
    # A wider element counts as several words of the last dimension.
    left = left * words.itemsize // 4
    words = words.view(np.uint32)
  # The number of each row: its place in all dimensions but the last.
  rows: np.ndarray = np.zeros((), np.uint64)
  for axis, first in enumerate(above):
    here = np.arange(first, first + words.shape[axis], dtype=np.uint64)
    rows = rows[..., None] * np.uint64(shape[axis]) + here
  of_row = _keys(rows.reshape(-1), seed=1)
  places = np.arange(left, left + words.shape[-1], dtype=np.uint64)
  of_place = _keys(places, seed=2)
  words = words.reshape(len(of_row), len(of_place))
  total = np.zeros(1, np.uint64)
  # Parts that fit into the cache of a core.
  step = max(1, _WORDS // max(1, len(of_place)))
  for first in range(0, len(of_row), step):
    key = of_row[first : first + step]
    part: np.ndarray = words[first : first + step] ^ of_place.astype(np.uint32)
    part += key.astype(np.uint32)[:, None]
    mixed = (_mixed(part) * (of_place | _ONE)).sum(axis=1)
    total += (mixed * (key | _ONE)).sum()
  return int(total[0])


def _mixed(words: np.ndarray) -> np.ndarray:
  """Scramble 32-bit words in place (the finalizer of MurmurHash3)."""
  words ^= words >> np.uint32(16)
  words *= np.uint32(0x85EBCA6B)
  words ^= words >> np.uint32(13)
  words *= np.uint32(0xC2B2AE35)
  words ^= words >> np.uint32(16)
  return words


def _keys(places: np.ndarray, *, seed: int) -> np.ndarray:
  """Return a pseudorandom 64-bit number for each place (SplitMix64)."""
  keys = (places + _ONE) * np.uint64(0x9E3779B97F4A7C15)
  keys += np.uint64(seed * 0xD1342543DE82EF95 % 2**64)
  keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return keys ^ (keys >> np.uint64(31))


def digest_json(value: Any) -> str:
  """Return the BLAKE2b digest of a JSON value; key order does not matter."""
  text = json.dumps(value, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: epath.PathLike | DataPath) -> str:
  """Return the SHA-256 of a file, in hexadecimal."""
  opened = epath.Path(path) if isinstance(path, str) else path
  with opened.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
