"""Search for clips and images that look nearly the same.

The hash of a picture has a bit for every pair of neighbours in a grey copy of
17 x 16 pixels: whether the right one is brighter ("dHash"). It hardly changes
with the encoding, the size and the brightness. A clip has the hashes of its
first, middle and last frame.
"""

from collections import defaultdict

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

_SIDE = 16
BITS = _SIDE * _SIDE
FRAMES = 3
BYTES = FRAMES * BITS // 8
MAX_DISTANCE = 47


def picture_hash(frames: UInt8[np.ndarray, 'T H W 3']) -> bytes:
  """Return the hashes of the first, the middle and the last frame."""
  bits = []
  for place in (0, len(frames) // 2, len(frames) - 1):
    grey = Image.fromarray(frames[place]).convert('L')
    small = grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    values = np.asarray(small, np.int16)
    bits.append(values[:, 1:] > values[:, :-1])
  return np.packbits(np.stack(bits)).tobytes()


class NearDuplicates:
  """The hashes seen so far, of one kind of media."""

  def __init__(self, max_distance: int):
    """Prepare an empty set.

    Args:
      max_distance: bits of 768 in which near duplicates differ at most, 0 to
        `MAX_DISTANCE`.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
      raise ValueError(f'max_distance is {max_distance}')
    self._max = max_distance
    # Hashes that differ in n bits agree in at least one of n + 1 parts.
    edges = np.linspace(0, BYTES, max_distance + 2).astype(int).tolist()
    self._spans = list(zip(edges[:-1], edges[1:], strict=True))
    self._parts: list[dict[bytes, list[int]]] = [
      defaultdict(list) for _ in self._spans
    ]
    self._hashes = bytearray()

  def add(self, found: bytes) -> bool:
    """Add a hash unless it is near an earlier one, and return whether not."""
    places: set[int] = set()
    keys = [found[start:stop] for start, stop in self._spans]
    for part, key in zip(self._parts, keys, strict=True):
      places.update(part.get(key, ()))
    if places and self._distances(found, sorted(places)).min() <= self._max:
      return False
    number = len(self._hashes) // BYTES
    self._hashes += found
    for part, key in zip(self._parts, keys, strict=True):
      part[key].append(number)
    return True

  def _distances(self, found: bytes, places: list[int]) -> Int[np.ndarray, 'N']:
    known = np.array(
      [
        np.frombuffer(self._hashes, np.uint8, BYTES, place * BYTES)
        for place in places
      ]
    )
    different = known ^ np.frombuffer(found, np.uint8)
    return np.bitwise_count(different).sum(axis=1).astype(int)
