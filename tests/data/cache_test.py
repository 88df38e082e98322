import numpy as np
import pytest

from phenaki_jax.data import cache, schema
from phenaki_jax.data.sources import files


@pytest.fixture
def records(good_clips, good_images, tmp_path):
  """Return a reader and decoded records: ten clips and ten images."""
  reader = files.FileReader(tmp_path)
  found = []
  for kind, items in (('clip', good_clips), ('image', good_images)):
    for i, data in enumerate(items):
      (tmp_path / f'{kind}{i}').write_bytes(data)
      record = schema.Record(
        key=f'{kind}{i}', kind=kind, caption='', path=f'{kind}{i}'
      )
      info = reader.examine(record)
      found.append(
        schema.Record(
          key=record.key,
          kind=kind,
          caption='',
          path=record.path,
          info=info,
        )
      )
  return reader, found


def request(position):
  return schema.ExampleRequest(
    size=(16, 24), frames=7, fps=8.0, tubelet=2, position=position
  )


@pytest.mark.parametrize('max_bytes', [0, 40_000, 10**9])
def test_examples_are_the_same_with_any_bound(records, max_bytes):
  reader, found = records
  kept = cache.FrameCache(max_bytes)
  for position in (0.0, 0.3, 0.99):
    for record in found:
      one = reader.example(record, request(position))
      other = kept.example(reader, record, request(position))
      np.testing.assert_array_equal(one.pixels, other.pixels)
      assert one.num_frames == other.num_frames
      assert one.pixels.dtype == other.pixels.dtype == np.uint8


def test_a_kept_record_is_not_read_again_and_the_bound_holds(records):
  reader, found = records
  frames = 16 * 24 * 3
  kept = cache.FrameCache(12 * frames + frames)  # One clip and one image.
  clip, image = found[0], found[10]
  for record in found:
    kept.example(reader, record, request(0.0))
  for record in found:
    (reader.folder / record.path).unlink()
  assert kept.example(reader, clip, request(0.5)).pixels.shape == (7, 16, 24, 3)
  kept.example(reader, image, request(0.5))
  for record in (found[1], found[11]):
    with pytest.raises(schema.DecodeError, match='missing_file'):
      kept.example(reader, record, request(0.0))


def test_examples_may_be_changed_in_place(records):
  reader, found = records
  kept = cache.FrameCache(10**9)
  for record in (found[0], found[10]):
    first = kept.example(reader, record, request(0.0)).pixels
    before = first.copy()
    first[:] = 0
    again = kept.example(reader, record, request(0.0)).pixels
    np.testing.assert_array_equal(again, before)


def test_a_full_cache_is_reported_once(records, caplog):
  reader, found = records
  kept = cache.FrameCache(13 * 16 * 24 * 3)
  for record in found:
    kept.example(reader, record, request(0.0))
  (message,) = [record.getMessage() for record in caplog.records]
  assert 'data.frame_cache_bytes=14976 is too small' in message


def test_no_cache_is_not_reported(records, caplog):
  reader, found = records
  cache.FrameCache(0).example(reader, found[0], request(0.0))
  assert not caplog.records
