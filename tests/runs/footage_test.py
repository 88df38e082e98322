import numpy as np
import pytest
from PIL import Image

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.runs.footage import (
  find,
  read_footage,
  read_own_rate,
  read_starts,
)
from phenaki_jax.stories.story import Scene, Story


def _clip(path, frames=12, fps=8):
  grey = np.linspace(20, 220, frames).astype(np.uint8)
  clip = np.broadcast_to(grey[:, None, None, None], (frames, 32, 32, 3))
  write_mp4(
    path, clip, fps=fps, provenance={'notice': 'rendered'}, min_height=1
  )
  return clip


def test_an_image_is_one_frame_of_the_size(tmp_path):
  picture = np.zeros((20, 60, 3), np.uint8)
  picture[:, 20:40] = 255
  Image.fromarray(picture).save(tmp_path / 'a.png')
  frames = read_footage(tmp_path / 'a.png', size=(16, 16), fps=8)
  assert frames.shape == (1, 16, 16, 3)
  assert (frames > 240).all()  # Its centre.
  own = read_footage(tmp_path / 'a.png', size=None, fps=8)
  np.testing.assert_array_equal(own[0], picture)


@pytest.mark.parametrize(('fps', 'count'), [(8, 12), (4, 6), (16, 24)])
def test_a_clip_is_read_at_the_frame_rate(tmp_path, fps, count):
  clip = _clip(tmp_path / 'a.mp4')
  frames = read_footage(tmp_path / 'a.mp4', size=(32, 32), fps=fps)
  own = read_footage(tmp_path / 'a.mp4', size=None, fps=fps)
  np.testing.assert_array_equal(own, frames)
  assert len(frames) == count
  shown = np.arange(count) * 8 // fps
  assert np.abs(frames.astype(int) - clip[shown]).max() < 8


@pytest.mark.parametrize('fps', [2, 24, 30000 / 1001])
def test_each_frame_of_a_clip_is_read_once_at_its_own_rate(tmp_path, fps):
  clip = _clip(tmp_path / 'a.mp4', fps=fps)
  found = read_own_rate(tmp_path / 'a.mp4', size=(32, 32), fps=8)
  assert found.fps == fps
  assert np.abs(found.frames.astype(int) - clip).max() < 8
  small = read_own_rate(tmp_path / 'a.mp4', size=(16, 16), fps=8)
  assert small.frames.shape == (12, 16, 16, 3)
  # An array, an image and a single frame have no rate.
  np.save(tmp_path / 'a.npy', clip)
  Image.fromarray(clip[0]).save(tmp_path / 'a.png')
  _clip(tmp_path / 'one.mp4', frames=1, fps=fps)
  for name, count in (('a.npy', 12), ('a.png', 1), ('one.mp4', 1)):
    found = read_own_rate(tmp_path / name, size=None, fps=8)
    assert found.fps == 8 and len(found.frames) == count


def test_starts_are_read_by_scene(tmp_path):
  _clip(tmp_path / 'a.mp4')
  scenes = (Scene(prompt='a'), Scene(prompt='b', start=str(tmp_path / 'a.mp4')))
  story = Story(scenes=scenes, size=(16, 24), fps=8.0)
  starts = read_starts(story)
  assert starts.keys() == {1}
  assert starts[1].shape == (12, 16, 24, 3)


def test_files_that_cannot_be_read_are_named(tmp_path):
  (tmp_path / 'a.png').write_text('no picture')
  (tmp_path / 'a.mp4').write_text('no film')
  for name in ('a.png', 'a.mp4'):
    with pytest.raises(UserError, match=rf'{name} cannot be read \(not_a'):
      read_footage(tmp_path / name, size=(16, 16), fps=8)
  for content in (b'', b'no array'):
    (tmp_path / 'a.npy').write_bytes(content)
    with pytest.raises(UserError, match=r'a.npy cannot be read \('):
      find(tmp_path / 'a.npy')
  with pytest.raises(NotFoundError, match='no image or clip'):
    read_footage(tmp_path / 'b.png', size=(16, 16), fps=8)
  with pytest.raises(UserError, match='or clip is s3://b/a.mp4, but must be'):
    read_footage('s3://b/a.mp4', size=(16, 16), fps=8)


def test_a_film_that_says_that_it_is_generated_is_read_with_a_warning(
  tmp_path, caplog
):
  _clip(tmp_path / 'a.mp4')
  clip = np.full((4, 32, 32, 3), 90, np.uint8)
  write_mp4(tmp_path / 'b.mp4', clip, fps=8, provenance={'seed': 1})
  for name, is_labelled in (('a', False), ('b', True)):
    caplog.clear()
    read_footage(tmp_path / f'{name}.mp4', size=(32, 32), fps=8)
    assert ("sees its label 'AI-generated'" in caplog.text) == is_labelled
