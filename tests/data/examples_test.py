"""Datasets of examples: shuffled, complete, mixed in exact shares."""

import collections
import logging

import numpy as np
import pytest

from phenaki_jax.data import build, cache, examples, manifest, schema
from phenaki_jax.data import config as config_lib
from phenaki_jax.data.sources import img2dataset, storyworld, webvid

WORLD = config_lib.SourceConfig(layout='storyworld', weight=3.0)
REQUEST = schema.ExampleRequest(size=(16, 16), frames=5, fps=8.0, tubelet=2)


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


@pytest.fixture
def images_only(media, good_images, tmp_path):
  media.shard(
    tmp_path / 'j',
    [(data, f'other {i}', {}) for i, data in enumerate(good_images[:4])],
  )
  build.build(
    [lambda indices: img2dataset.Img2Dataset(tmp_path / 'j')], tmp_path / 'n'
  )
  return tmp_path / 'n'


def source(folder, weight=1.0):
  return config_lib.SourceConfig(
    layout='manifest', path=str(folder), weight=weight
  )


def mixed(*sources, kind='clip', cache_bytes=0, **fields):
  """Open a mixture of sources; a folder stands for its manifest."""
  sources = [
    one if isinstance(one, config_lib.SourceConfig) else source(one)
    for one in sources
  ]
  fields = {'heldout_share': 0.0, 'continuation_share': 0.0} | fields
  config = config_lib.DataConfig(sources=tuple(sources), **fields)
  manifests = [manifest.Manifest(s.path) if s.path else None for s in sources]
  return examples.MixedExamples(
    config, REQUEST, kind, manifests, cache.FrameCache(cache_bytes)
  )


def captions(dataset, count):
  return [dataset[i].caption for i in range(count)]


def test_every_epoch_has_every_record_once_in_a_new_order(folder):
  for kind in ('clip', 'image'):
    found = captions(mixed(folder, kind=kind), 30)
    epochs = [found[:10], found[10:20], found[20:]]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_and_starts_depend_on_the_seed_alone(folder):
  one, same, other = (mixed(folder, seed=s) for s in (3, 3, 4))
  for i in range(5):
    np.testing.assert_array_equal(one[i].pixels, same[i].pixels)
  assert captions(one, 10) == captions(same, 10) != captions(other, 10)


def test_the_start_of_a_clip_changes_from_epoch_to_epoch(folder):
  dataset = mixed(folder)
  seen = collections.defaultdict(set)
  for i in range(60):
    seen[dataset[i].caption].add(dataset[i].pixels.tobytes())
  assert all(len(starts) > 1 for starts in seen.values())


@pytest.mark.parametrize('kind', ['clip', 'image'])
def test_later_epochs_come_from_memory_unchanged(folder, tmp_path, kind):
  fresh = mixed(folder, kind=kind)
  expected = [fresh[i].pixels for i in range(30)]
  kept = mixed(folder, kind=kind, cache_bytes=10**8)
  found = [kept[i].pixels for i in range(10)]
  (tmp_path / 'w').rename(tmp_path / 'moved')
  (tmp_path / 'i').rename(tmp_path / 'moved2')
  found += [kept[i].pixels for i in range(10, 30)]
  for one, other in zip(expected, found, strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_broken_record_is_replaced_the_same_way_and_counted(
  folder, tmp_path, caplog
):
  sound = mixed(folder)
  before = captions(sound, 10)
  broken = before[4]
  number = int(broken.split()[1])
  path = tmp_path / 'w' / 'videos' / '000' / f'{number:04d}.mp4'
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  with caplog.at_level(logging.WARNING):
    hurt = mixed(folder)
    after = [captions(hurt, 10) for _ in range(2)]
  assert after[0] == after[1]
  expected = f'clip {(number + 1) % 10}'
  assert after[0] == [expected if c == broken else c for c in before]
  assert hurt.replaced == 2 and sound.replaced == 0
  assert [r.getMessage() for r in caplog.records] == [
    f'000__{number:04d} has been broken since the manifest was built '
    f'(changed_file: videos/000/{number:04d}.mp4); it is replaced by the next '
    'clip'
  ]


def test_deleted_data_is_an_error_and_not_an_endless_search(folder, tmp_path):
  (tmp_path / 'w' / 'videos').rename(tmp_path / 'lost')
  with pytest.raises(ValueError, match='10 consecutive clips cannot be read'):
    mixed(folder)[0]


def test_a_kind_that_no_source_has_is_an_error_of_its_own(folder, images_only):
  with pytest.raises(schema.EmptySplitError, match='no clips in .* .heldout'):
    mixed(folder, split='heldout')
  with pytest.raises(schema.EmptySplitError, match='set data.image_share=1'):
    mixed(images_only, images_only)


def test_captions_are_those_of_the_split(folder):
  found = sorted(mixed(folder).captions())
  assert found == [(f'clip {i}',) for i in range(10)]


def test_sources_are_mixed_in_exact_shares_in_their_own_order(folder):
  alone = captions(mixed(folder), 30)
  world = captions(mixed(WORLD), 90)
  both = captions(mixed(WORLD, folder), 120)
  from_folder = [c for c in both if c.startswith('clip ')]
  assert from_folder == alone
  assert [c for c in both if not c.startswith('clip ')] == world
  for start in range(0, 120, 4):
    assert sum(c.startswith('clip ') for c in both[start : start + 4]) == 1


def test_sources_without_a_kind_leave_their_share_to_the_others(
  folder, images_only
):
  sources = (WORLD, source(folder, 1.0), source(images_only, 4.0))
  shares = [(s.requested, s.realised) for s in mixed(*sources).shares]
  assert shares == [(3 / 8, 3 / 4), (1 / 8, 1 / 4), (1 / 2, 0)]
  images = mixed(*sources, kind='image')
  shares = [(s.requested, s.realised) for s in images.shares]
  assert shares == [(3 / 8, 3 / 8), (1 / 8, 1 / 8), (1 / 2, 1 / 2)]
  counts = collections.Counter(c.split()[0] for c in captions(images, 80))
  assert counts['other'] == 40 and counts['image'] == 10


def test_captions_of_a_mixture_end_with_its_last_source(folder, images_only):
  found = list(mixed(folder, images_only, kind='image').captions())
  assert len(found) == len(set(found)) == 14


def test_examples_are_picked_without_repeats(tmp_path):
  source = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=4, num_images=3
  )
  build.build([lambda indices: source], tmp_path / 'm')
  content = manifest.Manifest(tmp_path / 'm')
  request = schema.ExampleRequest(size=(16, 16), frames=7, fps=8.0, tubelet=2)
  for kind, count in (('clip', 4), ('image', 3)):
    picked = examples.pick(content, kind, count=9, request=request)
    assert len(picked) == count
    assert len({example.pixels.tobytes() for example in picked}) == count
