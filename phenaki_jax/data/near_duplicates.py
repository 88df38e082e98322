"""Search for clips and images that look nearly the same.

The hash of a picture has a bit for every pair of neighbours in a grey copy of
17 x 16 pixels: whether the right one is brighter ("dHash"). It hardly changes
with the encoding, the size and the brightness. A clip has the hashes of its
first, middle and last frame. An image has the same one three times, so that
each differing bit counts three times: images may differ in a third of the bits
in which clips may.
"""

import numpy as np
from jaxtyping import Int, UInt8, UInt32
from PIL import Image

_SIDE = 16
BITS = _SIDE * _SIDE
FRAMES = 3
BYTES = FRAMES * BITS // 8
MAX_DISTANCE = 47
_FIRST = 2**10  # hashes for which there is room at first


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
  """The hashes seen so far, of one kind of media.

  Each takes 96 bytes, and 12 for each of `max_distance + 1` parts. The arrays
  are doubled when they are full.
  """

  def __init__(self, max_distance: int):
    """Prepare an empty set.

    Args:
      max_distance: bits of 768 in which near duplicates differ at most, 0 to
        `MAX_DISTANCE`.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
      raise ValueError(f'max_distance is {max_distance}')
    self._max = max_distance
    rng = np.random.default_rng(0)
    # Hashes that differ in n bits agree in at least one of n + 1 parts, in
    # whichever way all bits are divided. Neighbouring bits would be the same in
    # all pictures with a flat area there, so each frame is shuffled.
    order = rng.permutation(BITS)
    self._order = np.concatenate([order + BITS * i for i in range(FRAMES)])
    self._starts = np.linspace(0, 8 * BYTES, max_distance + 2).astype(int)[:-1]
    # The key of a part is the sum of the words of its bits.
    self._words = rng.integers(0, 2**32, 8 * BYTES, dtype=np.uint32)
    self._count = 0
    self._hashes = np.empty((_FIRST, BYTES), np.uint8)
    self._keys = np.empty((_FIRST, max_distance + 1), np.uint32)
    # The latest hash whose key ends in the bits of a slot, and the one before
    # each; -1 is none.
    self._latest = np.full(self._keys.shape, -1, np.int32)
    self._before = np.full(self._keys.shape, -1, np.int32)

  def add(self, found: bytes) -> bool:
    """Add a hash unless it is near an earlier one, and return whether not."""
    value = np.frombuffer(found, np.uint8)
    keys = self._part_keys(value)
    places = self._candidates(keys)
    different = self._hashes[places] ^ value
    if (np.bitwise_count(different).sum(axis=1) <= self._max).any():
      return False
    if self._count == len(self._hashes):
      self._grow()
    self._hashes[self._count] = value
    self._keys[self._count] = keys
    self._link(self._count)
    self._count += 1
    return True

  def _part_keys(
    self, value: UInt8[np.ndarray, ' bytes']
  ) -> UInt32[np.ndarray, ' parts']:
    """Return the key of each part of a hash."""
    words = np.unpackbits(value)[self._order] * self._words
    return np.add.reduceat(words, self._starts, dtype=np.uint32)

  def _candidates(
    self, keys: UInt32[np.ndarray, ' parts']
  ) -> Int[np.ndarray, ' places']:
    """Return the places of all hashes that agree in a part, or in its slot."""
    parts = np.arange(len(keys))
    places = self._latest[keys % len(self._latest), parts]
    found = [places[:0]]
    while places.size:
      is_one = places >= 0
      places, parts = places[is_one], parts[is_one]
      found.append(places)
      places = self._before[places, parts]
    return np.unique(np.concatenate(found))

  def _link(self, place: int) -> None:
    """Make a hash the latest in its slots."""
    parts = np.arange(self._keys.shape[1])
    slots = self._keys[place] % len(self._latest)
    self._before[place] = self._latest[slots, parts]
    self._latest[slots, parts] = place

  def _grow(self) -> None:
    """Double the arrays."""
    self._hashes, self._keys, self._before = (
      np.concatenate([array, np.empty_like(array)])
      for array in (self._hashes, self._keys, self._before)
    )
    self._latest = np.full(self._keys.shape, -1, np.int32)
    for place in range(self._count):
      self._link(place)
