import hashlib
import json

import numpy as np
import pytest

from phenaki_jax.stories.kept_scenes import KeptScenes

KEY = '0123456789abcdef' * 2
OTHER = 'f' * 32
FRAMES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)


def _through(folder, chunks, key=KEY):
  return KeptScenes(folder).through(
    key, FRAMES.shape, iter(chunks), chunk_frames=3
  )


def _keep(folder, key=KEY):
  chunks = [FRAMES[:1], FRAMES[1:]]
  for given, chunk in zip(chunks, _through(folder, chunks, key), strict=True):
    np.testing.assert_array_equal(chunk, given)


def test_frames_come_back_as_they_were(tmp_path):
  folder = tmp_path / 'deep' / 'folder'
  _keep(folder)
  found = KeptScenes(folder).find(KEY, FRAMES.shape)
  np.testing.assert_array_equal(found, FRAMES)
  again = list(_through(folder, []))
  assert [len(chunk) for chunk in again] == [3, 1]
  np.testing.assert_array_equal(np.concatenate(again), FRAMES)


def test_missing_scene_is_not_found(tmp_path):
  assert KeptScenes(tmp_path / 'none').find(KEY, FRAMES.shape) is None


def test_incomplete_scene_is_not_kept(tmp_path):
  kept = KeptScenes(tmp_path)
  with pytest.raises(AssertionError, match='1 frames'):
    list(_through(tmp_path, [FRAMES[:3]]))
  assert kept.find(KEY, FRAMES.shape) is None
  assert not list(tmp_path.iterdir())


def test_interruption_leaves_nothing(tmp_path):
  chunks = _through(tmp_path, [FRAMES[:3], FRAMES[3:]])
  next(chunks)
  assert list(tmp_path.iterdir())
  chunks.close()
  assert not list(tmp_path.iterdir())


def test_error_leaves_nothing(tmp_path):
  def fail():
    yield FRAMES[:3]
    raise RuntimeError

  with pytest.raises(RuntimeError):
    list(_through(tmp_path, fail()))
  assert not list(tmp_path.iterdir())


def test_frames_without_their_digest_are_ignored(tmp_path):
  _keep(tmp_path)
  (tmp_path / f'{KEY}.json').unlink()
  assert KeptScenes(tmp_path).find(KEY, FRAMES.shape) is None


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
def test_damage_is_found_and_logged(tmp_path, caplog, damage):
  _keep(tmp_path)
  damage(tmp_path / f'{KEY}.npy', tmp_path / f'{KEY}.json')
  assert KeptScenes(tmp_path).find(KEY, FRAMES.shape) is None
  assert 'damaged' in caplog.text


def test_pickles_are_never_read(tmp_path):
  _keep(tmp_path)
  path = tmp_path / f'{KEY}.npy'
  np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  (tmp_path / f'{KEY}.json').write_text(json.dumps({'sha256': digest}))
  assert KeptScenes(tmp_path).find(KEY, FRAMES.shape) is None


def test_other_shape_is_ignored(tmp_path):
  _keep(tmp_path)
  assert KeptScenes(tmp_path).find(KEY, (2, 4, 2, 3)) is None


def test_only_scenes_are_deleted(tmp_path):
  _keep(tmp_path)
  _keep(tmp_path, OTHER)
  (tmp_path / 'notes.txt').write_text('mine')
  # Killed processes leave these.
  (tmp_path / f'{OTHER}.npy.part').write_bytes(b'x')
  (tmp_path / f'.{OTHER}.npy.part-01234567').mkdir()
  assert KeptScenes(tmp_path).keep_only([KEY]) == 4
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    f'{KEY}.json',
    f'{KEY}.npy',
    'notes.txt',
  ]
