import numpy as np
import pytest

from phenaki_jax.data import build, contact_sheet, manifest, schema
from phenaki_jax.data.sources import storyworld


def clip(num_frames, value=200, caption='a red circle moves left'):
  pixels = np.full((9, 32, 32, 3), value, np.uint8)
  pixels[num_frames:] = 77
  return schema.Example(pixels=pixels, caption=caption, num_frames=num_frames)


def image(value, caption='a red circle'):
  return schema.Example(
    pixels=np.full((32, 32, 3), value, np.uint8), caption=caption
  )


def area(sheet, value):
  pixels = np.asarray(sheet)
  return (pixels == value).all(axis=-1).sum() / 32**2


def test_a_sheet_shows_every_real_frame_and_image():
  sheet = contact_sheet.draw(
    clips=[clip(9), clip(5, value=100)],
    images=[image(150)] * 40,
    title='two clips',
  )
  assert area(sheet, 200) == pytest.approx(9, abs=0.05)
  assert area(sheet, 100) == pytest.approx(5, abs=0.05)
  assert area(sheet, 150) == pytest.approx(40, abs=0.2)
  assert area(sheet, 77) < 0.1  # Padding is not shown.


def test_long_clips_are_thinned_and_long_captions_cut():
  pixels = np.full((50, 32, 32, 3), 200, np.uint8)
  long = schema.Example(pixels=pixels, caption='words ' * 2000, num_frames=49)
  sheet = contact_sheet.draw(clips=[long], images=[image(1, 'x' * 10_000)])
  assert area(sheet, 200) == pytest.approx(9, abs=0.05)
  assert sheet.height < 300


def test_nothing_to_draw_is_refused():
  with pytest.raises(ValueError, match='no examples'):
    contact_sheet.draw(clips=[], images=[])


def test_examples_are_picked_without_repeats(tmp_path):
  source = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=4, num_images=3
  )
  build.build([lambda indices: source], tmp_path / 'm')
  content = manifest.Manifest(tmp_path / 'm')
  request = schema.ExampleRequest(size=(16, 16), frames=7, fps=8.0)
  for kind, count in (('clip', 4), ('image', 3)):
    picked = contact_sheet.pick(content, kind, count=9, request=request)
    assert len(picked) == count
    assert len({example.pixels.tobytes() for example in picked}) == count
