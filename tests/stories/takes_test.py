import json

import numpy as np
import pytest

from phenaki_jax.stories.takes import Takes

NAME = '0123456789abcdef' * 2
OTHER = 'f' * 32
FRAMES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)


def _keep(folder, name=NAME):
  with Takes(folder).record(name, FRAMES.shape) as take:
    take.append(FRAMES[:1])
    take.append(FRAMES[1:])


def test_frames_come_back_as_they_were(tmp_path):
  _keep(tmp_path / 'deep' / 'folder')
  found = Takes(tmp_path / 'deep' / 'folder').find(NAME, FRAMES.shape)
  np.testing.assert_array_equal(found, FRAMES)


def test_missing_scene_is_not_found(tmp_path):
  assert Takes(tmp_path / 'none').find(NAME, FRAMES.shape) is None


def test_missing_frames_are_no_scene(tmp_path):
  takes = Takes(tmp_path)
  with pytest.raises(ValueError, match='1 frames'):
    with takes.record(NAME, FRAMES.shape) as take:
      take.append(FRAMES[:3])
  assert takes.find(NAME, FRAMES.shape) is None
  assert not list(tmp_path.iterdir())


def test_error_leaves_nothing(tmp_path):
  with pytest.raises(RuntimeError):
    with Takes(tmp_path).record(NAME, FRAMES.shape) as take:
      take.append(FRAMES)
      raise RuntimeError
  assert not list(tmp_path.iterdir())


def test_frames_without_their_mark_do_not_count(tmp_path):
  _keep(tmp_path)
  (tmp_path / f'{NAME}.json').unlink()
  assert Takes(tmp_path).find(NAME, FRAMES.shape) is None


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 4
  path.write_bytes(content)


@pytest.mark.parametrize(
  'damage',
  [
    lambda frames, mark: _flip(frames),
    lambda frames, mark: frames.write_bytes(frames.read_bytes()[:-1]),
    lambda frames, mark: frames.write_bytes(b''),
    lambda frames, mark: mark.write_text('{}'),
    lambda frames, mark: mark.write_text('[1'),
    lambda frames, mark: mark.write_text('3'),
  ],
  ids=['flip', 'cut', 'empty', 'no digest', 'no json', 'number'],
)
def test_damage_is_seen_and_said(tmp_path, caplog, damage):
  _keep(tmp_path)
  damage(tmp_path / f'{NAME}.npy', tmp_path / f'{NAME}.json')
  assert Takes(tmp_path).find(NAME, FRAMES.shape) is None
  assert 'damaged' in caplog.text


def test_pickles_are_never_read(tmp_path):
  _keep(tmp_path)
  path = tmp_path / f'{NAME}.npy'
  np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
  import hashlib

  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  (tmp_path / f'{NAME}.json').write_text(json.dumps({'sha256': digest}))
  assert Takes(tmp_path).find(NAME, FRAMES.shape) is None


def test_other_shape_does_not_count(tmp_path):
  _keep(tmp_path)
  assert Takes(tmp_path).find(NAME, (2, 4, 2, 3)) is None


def test_only_our_own_scenes_are_deleted(tmp_path):
  _keep(tmp_path)
  _keep(tmp_path, OTHER)
  (tmp_path / 'notes.txt').write_text('mine')
  # What killed processes left behind.
  (tmp_path / f'{OTHER}.npy.part').write_bytes(b'x')
  (tmp_path / f'.{OTHER}.npy.part-01234567').mkdir()
  assert Takes(tmp_path).keep_only([NAME]) == 4
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    f'{NAME}.json',
    f'{NAME}.npy',
    'notes.txt',
  ]
