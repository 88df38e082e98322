"""The batch of a step is a pure function, on any number of processes."""

import contextlib
import hashlib
import itertools
import logging
import sys

import numpy as np
import pytest

from phenaki_jax.data import build, pipeline
from phenaki_jax.data import config as config_lib
from phenaki_jax.data.sources import img2dataset, storyworld, webvid
from phenaki_jax.errors import UserError

LENGTH = 24


def tokenize(caption):
  """Encode a caption as its letters, an end mark and zeros."""
  ids = np.zeros(LENGTH, np.int32)
  letters = np.frombuffer(caption.encode()[: LENGTH - 1], np.uint8)
  ids[: len(letters)] = letters
  ids[len(letters)] = 1
  return ids


def make(process_index=0, process_count=1, **fields):
  fields = {'size': (8, 8), 'frames': 7, 'batch_size': 16, **fields}
  tubelet, multiple = fields.pop('tubelet', 2), fields.pop('multiple', 1)
  depth = fields.pop('depth', False)
  return pipeline.Pipeline(
    config_lib.DataConfig(**fields),
    tokenize,
    tubelet=tubelet,
    text_length=LENGTH,
    process_index=process_index,
    process_count=process_count,
    multiple=multiple,
    depth=depth,
  )


def assert_equal(one, other):
  assert {k: set(v) for k, v in one.items()} == {
    k: set(v) for k, v in other.items()
  }
  for part, arrays in one.items():
    for name, array in arrays.items():
      np.testing.assert_array_equal(array, other[part][name])


def test_batch_has_the_arrays_of_its_spec():
  loader = make(image_share=0.25)
  batch = loader.batch(5)
  assert {
    (part, name): (array.shape, array.dtype)
    for part, arrays in batch.items()
    for name, array in arrays.items()
  } == {
    (part, name): (array.shape, array.dtype)
    for part, arrays in loader.spec.items()
    for name, array in arrays.items()
  }
  assert batch['clips']['pixels'].shape == (12, 7, 8, 8, 3)
  assert batch['images']['pixels'].shape == (4, 8, 8, 3)
  assert batch['clips']['text'].shape == (12, LENGTH)
  context = batch['clips']['context_frames']
  assert set(context) == {0, 5}
  assert (batch['clips']['num_frames'] == 7).all()


def test_clips_without_captions_have_the_empty_one(monkeypatch):
  fields = {'image_share': 0.5, 'continuation_share': 0.0}
  told, loader = make(**fields), make(clip_captions=False, **fields)
  expected, batch = told.batch(3), loader.batch(3)
  assert (batch['clips'].pop('text') == tokenize('')).all()
  assert (expected['clips'].pop('text')[:, 0] > 1).all()
  assert_equal(batch, expected)
  # Words are learned from the captions of images alone.
  images = set(make(image_share=1.0, continuation_share=0.0).captions(40))
  assert set(loader.captions(20)) <= images
  assert not set(told.captions(20)) <= images
  assert loader.fingerprint != told.fingerprint
  assert 'clip_captions' not in told.content
  monkeypatch.setattr(loader, 'examples', told.examples)
  with pytest.raises(AssertionError, match='a clip has a caption'):
    loader.batch(3)


def test_clips_of_storyworld_have_their_depth():
  plain = make(image_share=0.25, continuation_share=0.5).batch(2)
  batch = make(image_share=0.25, continuation_share=0.5, depth=True).batch(2)
  depth = batch['clips'].pop('depth')
  assert_equal(batch, plain)
  assert depth.shape == batch['clips']['pixels'].shape[:-1]
  assert (depth.max((1, 2, 3)) > 200).all() and (depth == 0).mean() > 0.5


def test_parts_are_padded_with_their_first_examples():
  """The padding changes no example, on any number of processes."""
  fields = {'image_share': 0.2, 'row_multiple': 4}
  plain = make(**fields)
  assert plain.composition.num_rows(4) % 4 == 0
  counts, batch = plain.composition.counts, plain.batch(3)
  padded = [make(i, 2, multiple=8, **fields).batch(3) for i in range(2)]
  for part, arrays in batch.items():
    for name, array in arrays.items():
      rows = np.concatenate([one[part][name] for one in padded])
      assert len(rows) % 8 == 0 and len(array) == counts[part]
      np.testing.assert_array_equal(rows[: len(array)], array)
      rest = np.resize(array, rows.shape)
      np.testing.assert_array_equal(rows, rest)
  assert plain.fingerprint == make(multiple=8, **fields).fingerprint
  assert plain.fingerprint != make(image_share=0.2).fingerprint


def test_loader_threads_wait_little_for_each_other(monkeypatch):
  chosen = []
  monkeypatch.setattr(sys, 'setswitchinterval', chosen.append)
  for num_threads in (0, 1, 2):
    make(num_threads=num_threads).iterate().close()
    assert len(chosen) == max(0, num_threads - 1)
  assert chosen[0] <= 1e-3


@pytest.mark.parametrize('num_threads', [0, 2])
def test_iterating_yields_the_batches_of_the_steps(num_threads):
  loader = make(num_threads=num_threads)
  for start in (0, 3):
    batches = loader.iterate(start)
    for step, batch in enumerate(itertools.islice(batches, 4), start):
      assert_equal(batch, loader.batch(step))
    batches.close()


def test_batches_differ_from_step_to_step_and_seed_to_seed():
  loader = make()
  first = loader.batch(0)['clips']['pixels']
  assert not np.array_equal(first, loader.batch(1)['clips']['pixels'])
  assert not np.array_equal(first, make(seed=1).batch(0)['clips']['pixels'])


@pytest.mark.parametrize('count', [1, 2, 4, 8])
def test_rows_of_all_processes_are_the_global_batch(count):
  fields = {'image_share': 0.25, 'batch_size': 32}
  whole = make(**fields).batch(7)
  parts = [make(i, count, **fields).batch(7) for i in range(count)]
  joined = {
    part: {
      name: np.concatenate([each[part][name] for each in parts])
      for name in whole[part]
    }
    for part in whole
  }
  assert_equal(whole, joined)


def test_a_batch_that_processes_cannot_share_is_rejected():
  with pytest.raises(ValueError, match='13 clips, which 2 processes'):
    make(0, 2, image_share=0.2)


@pytest.mark.parametrize('share, part', [(0.0, 'clips'), (1.0, 'images')])
def test_a_part_without_examples_is_absent(share, part):
  assert set(make(image_share=share).batch(0)) == {part}


def test_fingerprint_depends_on_what_changes_the_batches():
  one = make().fingerprint
  assert one == make(num_threads=0, prefetch=1).fingerprint
  assert one != make(seed=1).fingerprint
  assert one != make(batch_size=8).fingerprint
  assert one != make(tubelet=1).fingerprint


def test_captions_are_those_of_the_examples():
  loader = make(image_share=0.5)
  captions = list(loader.captions(6))
  assert len(captions) == 6
  text = loader.batch(0)
  clips = [tokenize(caption) for caption in captions[::2]]
  images = [tokenize(caption) for caption in captions[1::2]]
  np.testing.assert_array_equal(text['clips']['text'][:3], clips)
  np.testing.assert_array_equal(text['images']['text'][:3], images)


def test_a_negative_step_is_rejected():
  with pytest.raises(ValueError, match='must not be negative'):
    make().batch(-1)
  with pytest.raises(ValueError, match='must not be negative'):
    make().iterate(-1)


@pytest.fixture(scope='module')
def folder(media, good_clips, good_images, tmp_path_factory):
  """Return a manifest of 10 clips and 10 images from files, 4 and 4 made.

  The images are in shards of 7 and of 3.
  """
  root = tmp_path_factory.mktemp('data')
  clips = [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  images = [(data, f'image {i}', {}) for i, data in enumerate(good_images)]
  media.webvid(root / 'w', clips)
  media.shard(root / 'i', images[:7])
  media.shard(root / 'i', images[7:], name='00001')
  world = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=4, num_images=4
  )
  build.build(
    [
      lambda indices: webvid.WebVid(root / 'w'),
      lambda indices: img2dataset.Img2Dataset(root / 'i'),
      lambda indices: world,
    ],
    root / 'm',
  )
  return str(root / 'm')


def source(folder, **fields):
  return config_lib.SourceConfig(layout='manifest', path=folder, **fields)


def mixture_of(folder):
  """Return four sources of uneven weights."""
  worlds = [
    config_lib.SourceConfig(layout='storyworld', subset=subset, weight=weight)
    for subset, weight in (('easy', 1.0), ('medium', 0.25))
  ]
  return (source(folder, weight=0.7), *worlds, source(folder, weight=0.35))


def make_from(folder, *processes, **fields):
  fields = {'heldout_share': 0.0, 'image_share': 0.25} | fields
  return make(*processes, **{'sources': (source(folder),), **fields})


@pytest.mark.parametrize('fields', [{}, {'frame_cache_bytes': 10**8}])
def test_iterating_yields_the_batches_of_a_manifest(folder, fields):
  whole = make_from(folder)
  loader = make_from(folder, **fields)
  batches = loader.iterate(2)
  for step, batch in enumerate(itertools.islice(batches, 4), 2):
    assert_equal(batch, whole.batch(step))
  loader.close()
  assert loader.fingerprint == whole.fingerprint and not loader.replaced


@pytest.mark.parametrize('count', [2, 4, 8])
@pytest.mark.parametrize('mixed', [False, True])
def test_processes_share_the_batches_of_a_manifest(folder, count, mixed):
  world = config_lib.SourceConfig(layout='storyworld')
  sources = (source(folder, weight=0.3), world) if mixed else (source(folder),)
  fields = {'sources': sources, 'batch_size': 32}
  whole = make_from(folder, **fields).batch(3)
  parts = [make_from(folder, i, count, **fields).batch(3) for i in range(count)]
  for part, arrays in whole.items():
    for name, array in arrays.items():
      joined = np.concatenate([each[part][name] for each in parts])
      np.testing.assert_array_equal(array, joined)


def test_the_number_of_processes_may_change_within_an_epoch(folder):
  fields = {
    'sources': mixture_of(folder),
    'batch_size': 32,
    'frame_cache_bytes': 10**8,
  }
  whole = make_from(folder, **fields)
  for step, count in enumerate((1, 2, 8, 4)):
    parts = [
      make_from(folder, index, count, **fields).batch(step)
      for index in range(count)
    ]
    for name, arrays in whole.batch(step).items():
      for key, array in arrays.items():
        joined = np.concatenate([each[name][key] for each in parts])
        np.testing.assert_array_equal(array, joined)


def _check_resumes(folder, points, length, last):
  """Compare the batches after random steps with those of one long run."""
  fields = {
    'sources': mixture_of(folder),
    'batch_size': 8,
    'frame_cache_bytes': 10**8,
  }
  with contextlib.closing(make_from(folder, **fields)) as loader:
    batches = [
      hashlib.sha256(_bytes(batch)).digest()
      for batch in itertools.islice(loader.iterate(), last + length)
    ]
  assert len(set(batches)) == len(batches)
  with contextlib.closing(make_from(folder, **fields)) as loader:
    for start in np.random.default_rng(0).integers(0, last, points).tolist():
      found = itertools.islice(loader.iterate(start), length)
      for batch, expected in zip(
        found, batches[start : start + length], strict=True
      ):
        assert hashlib.sha256(_bytes(batch)).digest() == expected


def _bytes(batch):
  return b''.join(
    array.tobytes()
    for _, arrays in sorted(batch.items())
    for _, array in sorted(arrays.items())
  )


def test_the_depth_of_a_manifest_is_not_known(folder):
  with pytest.raises(UserError, match='set task.depth_weights to a file'):
    make_from(folder, depth=True)


def test_random_resume_points_give_the_same_batches(folder):
  _check_resumes(folder, points=4, length=3, last=12)


@pytest.mark.slow
def test_many_resume_points_give_the_same_batches(folder):
  _check_resumes(folder, points=40, length=50, last=200)


@pytest.mark.parametrize(
  'tubelet, frames, fits', [(1, 14, 12), (2, 15, 11), (3, 16, 10), (4, 17, 9)]
)
def test_short_clips_are_padded_to_whole_tubelets(
  folder, tubelet, frames, fits
):
  clips = make_from(folder, frames=frames, tubelet=tubelet).batch(0)['clips']
  # 12 frames of the files at 8 fps fit; StoryWorld renders any number.
  assert set(clips['num_frames']) == {fits, frames}
  padded = clips['pixels'][clips['num_frames'] == fits]
  assert (padded[:, fits:] == padded[:, fits - 1 : fits]).all()


@pytest.mark.parametrize('tubelet', [1, 2, 3, 4])
def test_storyworld_follows_the_tubelet(tubelet):
  length, context = 1 + 3 * tubelet, 1 + 2 * tubelet
  loader = make(
    tubelet=tubelet,
    frames=length,
    context_frames=context,
    continuation_share=1.0,
  )
  clips = loader.batch(0)['clips']
  assert clips['pixels'].shape[1] == length
  assert set(clips['num_frames']) == {length}
  assert set(clips['context_frames']) == {context}
  with pytest.raises(ValueError, match='must be 1 \\+ k'):
    make(tubelet=tubelet + 1, frames=length, context_frames=context)


def test_description_names_every_source_with_its_shares(folder, caplog):
  world = config_lib.SourceConfig(layout='storyworld', weight=3.0)
  loader = make_from(folder, sources=(source(folder), world))
  text = loader.describe(4)
  assert '12 clips and 4 images: images are 0.25 of its examples' in text
  for part in ('clips', 'images'):
    assert (
      f'Shares of the {part}: 0.25 (requested: 0.25) from manifest {folder}, '
      '0.75 (requested: 0.75) from storyworld easy.'
    ) in text
  with caplog.at_level(logging.WARNING):
    make(image_share=0.01)
  assert 'less than one image' in caplog.text


def test_captions_are_those_of_the_manifest(folder):
  captions = list(make_from(folder).captions(100))
  assert len(captions) == 28
  assert {f'clip {i}' for i in range(10)} < set(captions)


def test_fingerprint_depends_on_the_manifest(
  folder, media, good_clips, tmp_path
):
  media.webvid(tmp_path / 'w', [(data, 'clip') for data in good_clips])
  build.build([lambda indices: webvid.WebVid(tmp_path / 'w')], tmp_path / 'm')
  one = make_from(folder, image_share=0.0)
  other = make_from(str(tmp_path / 'm'), image_share=0.0)
  assert one.fingerprint != other.fingerprint
  # A manifest without images is sufficient if none are requested.
  assert set(other.batch(0)) == {'clips'}
  with pytest.raises(ValueError, match='set data.image_share=0 or build'):
    make_from(str(tmp_path / 'm'), image_share=0.25)
