import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import near_duplicates


def flipped(found, *bits):
  values = np.unpackbits(np.frombuffer(found, np.uint8))
  values[list(bits)] ^= 1
  return np.packbits(values).tobytes()


def test_the_hash_hardly_changes_with_size_encoding_and_brightness(media):
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 200, (5, 6, 3), dtype=np.uint8)
  picture = Image.fromarray(coarse).resize((192, 160), Image.Resampling.BICUBIC)
  pixels = np.asarray(picture)
  found = near_duplicates.picture_hash(pixels[None])
  small = np.asarray(picture.resize((96, 80)))
  for changed in (small, np.minimum(pixels + np.uint8(10), 255)):
    other = near_duplicates.picture_hash(changed[None])
    different = np.frombuffer(found, np.uint8) ^ np.frombuffer(other, np.uint8)
    assert np.bitwise_count(different).sum() <= 24
  mirrored = near_duplicates.picture_hash(pixels[None, :, ::-1])
  different = np.frombuffer(found, np.uint8) ^ np.frombuffer(mirrored, np.uint8)
  assert np.bitwise_count(different).sum() > 300


@pytest.mark.parametrize('distance', [0, 1, 3, 8, 47])
def test_the_threshold_is_exact(distance):
  rng = np.random.default_rng(distance)
  base = rng.bytes(near_duplicates.BYTES)
  near = near_duplicates.NearDuplicates(distance)
  assert near.add(base)
  bits = rng.permutation(8 * near_duplicates.BYTES)
  assert not near.add(flipped(base, *bits[:distance]))
  assert near.add(flipped(base, *bits[: distance + 1]))
  assert near.add(rng.bytes(near_duplicates.BYTES))


def test_every_pair_is_found_as_by_brute_force(monkeypatch):
  monkeypatch.setattr(near_duplicates, '_FIRST', 4)  # The arrays grow.
  rng = np.random.default_rng(3)
  base = [rng.bytes(near_duplicates.BYTES) for _ in range(5)]
  items = [
    flipped(base[i % 5], *rng.integers(0, 768, rng.integers(0, 9)))
    for i in range(60)
  ]
  near, kept = near_duplicates.NearDuplicates(6), []
  for item in items:
    values = np.frombuffer(item, np.uint8)
    expected = all(np.bitwise_count(values ^ one).sum() > 6 for one in kept)
    assert near.add(item) == expected
    if expected:
      kept.append(values)
  assert 5 <= len(kept) < 60


@pytest.mark.parametrize('distance', [0, 8, 20])
def test_flat_areas_do_not_make_every_pair_a_candidate(distance):
  """Images whose upper half is flat are compared with hardly any other."""
  rng = np.random.default_rng(4)
  near, half = near_duplicates.NearDuplicates(distance), bytes(16)
  found = [3 * (half + rng.bytes(16)) for _ in range(300)]
  assert all(map(near.add, found))
  values = [np.frombuffer(one, np.uint8) for one in found]
  compared = [len(near._candidates(near._part_keys(one))) for one in values]
  assert min(compared) >= 1 and np.mean(compared) < 15


def test_memory_is_that_of_compact_arrays():
  near = near_duplicates.NearDuplicates(8)
  room = len(near._hashes)
  arrays = (near._hashes, near._keys, near._latest, near._before)
  assert sum(array.nbytes for array in arrays) == room * (96 + 12 * 9)
