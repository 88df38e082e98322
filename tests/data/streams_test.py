"""Streams of a manifest: shuffled, complete, and never silently short."""

import collections
import logging

import numpy as np
import pytest

from phenaki_jax.data import build, cache, manifest, streams
from phenaki_jax.data import config as config_lib
from phenaki_jax.data.sources import img2dataset, webvid


@pytest.fixture
def folder(media, good_clips, good_images, tmp_path):
  media.webvid(
    tmp_path / 'w', [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  )
  media.shard(
    tmp_path / 'i',
    [(data, f'image {i}', {}) for i, data in enumerate(good_images)],
  )
  build.build(
    [
      lambda indices: webvid.WebVid(tmp_path / 'w'),
      lambda indices: img2dataset.Img2Dataset(tmp_path / 'i'),
    ],
    tmp_path / 'm',
  )
  return tmp_path / 'm'


def config_of(folder, **fields):
  return config_lib.DataConfig(
    **{
      'source': 'manifest',
      'manifest': str(folder),
      'size': (16, 16),
      'frames': 5,
      'heldout_share': 0.0,
      **fields,
    }
  )


def stream(folder, kind='clip', **fields):
  return streams.ManifestStream(
    config_of(folder, **fields),
    kind,
    manifest.Manifest(folder),
    cache.FrameCache(0),
  )


def captions(examples, count):
  return [examples[i].caption for i in range(count)]


def test_every_epoch_has_every_record_once_in_an_order_of_its_own(folder):
  for kind in ('clip', 'image'):
    found = captions(stream(folder, kind), 30)
    epochs = [found[:10], found[10:20], found[20:]]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_and_starts_follow_the_seed_alone(folder):
  one, same, other = (stream(folder, seed=s) for s in (3, 3, 4))
  for i in range(5):
    np.testing.assert_array_equal(one[i].pixels, same[i].pixels)
  assert captions(one, 10) == captions(same, 10) != captions(other, 10)


def test_a_clip_starts_elsewhere_in_another_epoch(folder):
  examples = stream(folder)
  seen = collections.defaultdict(set)
  for i in range(60):
    seen[examples[i].caption].add(examples[i].pixels.tobytes())
  assert all(len(starts) > 1 for starts in seen.values())


def test_a_broken_record_is_replaced_the_same_way_and_counted(
  folder, tmp_path, caplog
):
  sound = stream(folder)
  before = captions(sound, 10)
  broken = before[4]
  number = int(broken.split()[1])
  path = tmp_path / 'w' / 'videos' / '000' / f'{number:04d}.mp4'
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  with caplog.at_level(logging.WARNING):
    hurt = stream(folder)
    after = [captions(hurt, 10) for _ in range(2)]
  assert after[0] == after[1]
  expected = f'clip {(number + 1) % 10}'
  assert after[0] == [expected if c == broken else c for c in before]
  assert hurt.replaced == 2 and sound.replaced == 0
  assert [r.getMessage() for r in caplog.records] == [
    f'000__{number:04d} is broken since the manifest was built '
    f'(changed_file: videos/000/{number:04d}.mp4); the next clip takes its '
    'place'
  ]


def test_lost_data_is_an_error_not_an_endless_search(folder, tmp_path):
  (tmp_path / 'w' / 'videos').rename(tmp_path / 'lost')
  with pytest.raises(ValueError, match='10 clips in a row cannot be read'):
    stream(folder)[0]


def test_what_the_manifest_lacks_is_said(folder):
  with pytest.raises(ValueError, match='no clips in the split .heldout'):
    stream(folder, split='heldout')


def test_captions_are_those_of_the_split(folder):
  assert sorted(stream(folder).captions()) == [f'clip {i}' for i in range(10)]
