import os
import pathlib

import pytest

from phenaki_jax.data import build, check, manifest, move
from phenaki_jax.data.sources import img2dataset, storyworld, webvid


@pytest.fixture
def folder(media, good_clips, good_images, tmp_path):
  """Return a manifest of clips and images in `old` and of StoryWorld."""
  old = tmp_path / 'old'
  media.webvid(old / 'clips', [(data, 'x') for data in good_clips])
  media.shard(old / 'images', [(data, 'x', {}) for data in good_images])
  world = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=2, num_images=2
  )
  build.build(
    [
      lambda indices: webvid.WebVid(old / 'clips'),
      lambda indices: img2dataset.Img2Dataset(old / 'images'),
      lambda indices: world,
    ],
    tmp_path / 'm',
  )
  return tmp_path / 'm'


def problems(folder):
  return list(check.find_problems(manifest.Manifest(folder)))


@pytest.mark.parametrize('parts', ['', 'old', 'deep/old'])
def test_data_are_found_below_the_new_folder(folder, tmp_path, parts):
  new = tmp_path / 'new' / parts
  new.parent.mkdir(parents=True, exist_ok=True)
  os.rename(tmp_path / 'old', new)
  assert len(problems(folder)) == 20
  before = manifest.Manifest(folder)
  given = tmp_path / 'new' / pathlib.Path(parts).parent
  moved = move.repoint(before, given)
  assert moved == {
    str(tmp_path / 'old' / name): str(new / name)
    for name in ('clips', 'images')
  }
  after = manifest.Manifest(folder)
  assert not problems(folder) and after.hash == before.hash
  folders = [report.folder for report in after.reports()]
  assert folders == [str(new / 'clips'), str(new / 'images'), '']


def test_a_source_that_was_not_moved_keeps_its_place(folder, tmp_path):
  os.rename(tmp_path / 'old' / 'clips', tmp_path / 'clips')
  moved = move.repoint(manifest.Manifest(folder), tmp_path / 'clips')
  assert list(moved.values()) == [str(tmp_path / 'clips')]
  assert not problems(folder)


def test_other_data_are_not_taken(folder, media, good_clips, tmp_path):
  os.rename(tmp_path / 'old', tmp_path / 'gone')
  others = [(data, 'x') for data in reversed(good_clips)]
  media.webvid(tmp_path / 'new' / 'clips', others)
  header = (folder / manifest.HEADER).read_bytes()
  with pytest.raises(ValueError, match='neither .*new nor .*old/clips holds'):
    move.repoint(manifest.Manifest(folder), tmp_path / 'new')
  assert (folder / manifest.HEADER).read_bytes() == header


def test_nothing_moved_is_an_error(folder, tmp_path):
  with pytest.raises(ValueError, match='holds no data of'):
    move.repoint(manifest.Manifest(folder), tmp_path / 'new')
