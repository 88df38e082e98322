import json
import pathlib
import shutil

import numpy as np
import pytest

from phenaki_jax.data import build, manifest
from phenaki_jax.data.sources import storyworld

READER = storyworld.StoryWorldReader(subset='easy')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  folder = tmp_path_factory.mktemp('built') / 'm'
  source = storyworld.StoryWorld(READER, num_clips=60, num_images=10)
  build.build([lambda indices: source], folder)
  return folder


@pytest.fixture
def folder(built, tmp_path):
  """Return a copy that a test may change."""
  return pathlib.Path(shutil.copytree(built, tmp_path / 'm'))


def test_records_are_read_as_they_were_written(folder):
  content = manifest.Manifest(folder)
  assert len(content) == 70
  record = content[61]
  assert (record.kind, record.offset) == ('image', 1)
  assert record.caption == content.caption(61) == READER.caption('image', 1)
  assert content.reader(61) == READER
  assert content.recomputed_hash() == content.hash


def test_splits_are_a_partition_by_content(folder):
  content = manifest.Manifest(folder)
  train = content.rows('clip', split='train', heldout_share=0.3)
  heldout = content.rows('clip', split='heldout', heldout_share=0.3)
  assert set(train) | set(heldout) == set(range(60))
  assert not set(train) & set(heldout)
  assert 5 < len(heldout) < 35
  np.testing.assert_array_equal(content.rows('image'), np.arange(60, 70))
  # More held out keeps what was held out before.
  more = content.rows('clip', split='heldout', heldout_share=0.5)
  assert set(heldout) < set(more)


def test_other_folders_are_rejected(tmp_path):
  with pytest.raises(ValueError, match='phenaki data build'):
    manifest.Manifest(tmp_path)
  (tmp_path / manifest.HEADER).write_text('{')
  with pytest.raises(ValueError, match='cannot be read'):
    manifest.Manifest(tmp_path)


def test_a_changed_manifest_is_rejected(folder):
  table = folder / manifest.RECORDS
  data = bytearray(table.read_bytes())
  data[len(data) // 2] ^= 1
  table.write_bytes(data)
  with pytest.raises(ValueError, match='is not the table'):
    manifest.Manifest(folder)


@pytest.mark.parametrize(
  'field, value, words',
  [
    ('version', 99, 'version 99'),
    ('sources', [{'layout': 'zip'}], "layout 'zip'"),
    ('sources', None, 'cannot be read'),
  ],
)
def test_an_incompatible_header_is_rejected(folder, field, value, words):
  header = json.loads((folder / manifest.HEADER).read_text())
  header[field] = value
  (folder / manifest.HEADER).write_text(json.dumps(header))
  with pytest.raises(ValueError, match=words):
    manifest.Manifest(folder)
