import pytest

from phenaki_jax.data import build, check, manifest
from phenaki_jax.data.sources import files, storyworld, webvid


@pytest.fixture
def folder(media, good_clips, tmp_path):
  media.webvid(
    tmp_path / 'w', [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  )
  world = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=2, num_images=2
  )
  build.build(
    [lambda indices: webvid.WebVid(tmp_path / 'w'), lambda indices: world],
    tmp_path / 'm',
  )
  return tmp_path / 'm'


def problems(folder):
  found = check.find_problems(manifest.Manifest(folder))
  return [(problem.key, problem.reason) for problem in found]


def test_an_unchanged_manifest_has_no_problems(folder):
  assert problems(folder) == []


def test_every_kind_of_change_is_found_by_child_processes(
  folder, good_clips, tmp_path, monkeypatch
):
  def examine(*_, **__):
    raise AssertionError('a file is decoded in this process')

  # Children are forked from a process that does not know of it.
  monkeypatch.setattr(files.FileReader, 'examine', examine)
  videos = tmp_path / 'w' / 'videos' / '000'
  (videos / '0001.mp4').unlink()
  (videos / '0003.mp4').write_bytes(good_clips[3][:900])
  (videos / '0005.mp4').write_bytes(good_clips[6])
  assert problems(folder) == [
    ('000__0001', 'missing_file'),
    ('000__0003', 'truncated_file'),
    ('000__0005', 'changed_file'),
  ]
