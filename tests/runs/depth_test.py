"""Depth maps are read from every form, and cover the whole clip."""

import numpy as np
import pytest
from PIL import Image

from phenaki_jax import storyworld
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.runs.depth import depth_of
from phenaki_jax.storyworld import renderer
from phenaki_jax.storyworld.facts import SecondObject

FRAMES = np.zeros((3, 16, 24, 3), np.uint8)
MAPS = np.random.default_rng(0).integers(50, 200, (3, 16, 24)).astype(np.uint8)


def _of(source, frames=FRAMES, subset=''):
  return depth_of(frames, source, fps=8, subset=subset)


def test_an_array_and_a_folder_of_pictures_are_the_same(tmp_path):
  np.save(tmp_path / 'maps.npy', MAPS)
  folder = tmp_path / 'maps'
  folder.mkdir()
  for number, one in enumerate(MAPS):
    Image.fromarray(one).save(folder / f'{number:03d}.png')
  (folder / 'notes.txt').write_text('not a picture')
  found = _of(tmp_path / 'maps.npy')
  assert found.checksum == ''
  # One range for the whole clip.
  assert found.maps.min() == 0 and abs(found.maps.max() - 1) < 1e-6
  span = float(MAPS.max() - MAPS.min())
  expected = (MAPS - MAPS.min()) / span
  np.testing.assert_allclose(found.maps, expected, atol=1e-6)
  np.testing.assert_allclose(_of(folder).maps, expected, atol=1e-6)
  # A picture is the map of an image.
  one = _of(folder / '000.png', FRAMES[:1]).maps
  assert np.corrcoef(one.ravel(), expected[0].ravel())[0, 1] > 0.999


def test_depth_of_storyworld_is_read_from_the_clip():
  clip = storyworld.training_clip(0, 3, 'easy', frames=3, size=32, depth=True)
  found = _of(None, clip.frames, 'easy').maps
  near, true = found > 0.5, clip.depth > 127
  assert (near & true).sum() > 0.85 * (near | true).sum()


def test_a_second_object_is_as_near_in_training_as_in_an_edit():
  facts = storyworld.Facts(
    shape='circle',
    colour='red',
    place='grass',
    motion='still',
    second=SecondObject(shape='square', colour='blue'),
  )
  scene = storyworld.Scene(
    facts=facts, x=0.3, y=0.3, second_x=0.8, second_y=0.8
  )
  clip = storyworld.render_clip(scene, 2, 64)
  true = renderer.render_depth(scene, 2, 64)
  read = _of(None, clip, 'full').maps
  # Both objects; their edges are soft in training.
  assert read[0, 19, 19] == read[0, 51, 51] == 1
  np.testing.assert_array_equal(read[true == 255], 1)
  assert ((read == 1) != (true > 127)).mean() < 0.03


def test_what_is_not_depth_of_the_clip_is_refused(tmp_path):
  with pytest.raises(UserError, match='give --depth MAPS'):
    _of(None)
  with pytest.raises(NotFoundError, match='no image or clip'):
    _of(tmp_path / 'absent.png')
  np.save(tmp_path / 'few.npy', MAPS[:2])
  with pytest.raises(UserError, match='one map of its size for each frame'):
    _of(tmp_path / 'few.npy')
  for value in (np.nan, np.inf):
    maps = MAPS.astype(np.float32)
    maps[1, 2, 3] = value
    np.save(tmp_path / 'nan.npy', maps)
    with pytest.raises(UserError, match='infinite or not numbers'):
      _of(tmp_path / 'nan.npy')
  with pytest.raises(UserError, match='holds no pictures'):
    _of(tmp_path)
  (tmp_path / 'bad.npy').write_bytes(b'no array')
  with pytest.raises(UserError, match='cannot be read'):
    _of(tmp_path / 'bad.npy')
  with pytest.raises(UserError, match='shows no place of StoryWorld'):
    _of(
      None,
      np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8),
      'easy',
    )
