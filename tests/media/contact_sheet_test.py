"""The sheet shows the right frames, and its text stays inside."""

import numpy as np
import pytest

from phenaki_jax.media.contact_sheet import contact_sheet


def scene(num_frames, colour=(200, 30, 30), text='a red circle falls'):
  frames = np.zeros((num_frames, 32, 32, 3), np.uint8)
  frames[:] = np.array(colour, np.uint8)
  # The frame's number, readable as a colour.
  frames[..., 2] = np.arange(num_frames)[:, None, None]
  return text, frames


def tile(sheet, column, y=16, size=96):
  left = 16 + column * (size + 4)
  return sheet[y : y + size, left : left + size]


def ink(sheet):
  """Return where the sheet has text: dark, grey pixels."""
  grey = (np.ptp(sheet.astype(int), axis=-1) < 12) & (sheet[..., 0] < 160)
  return np.argwhere(grey)


def test_a_long_scene_shows_its_first_and_last_frame():
  sheet = contact_sheet([scene(17)], columns=5)
  shown = [int(tile(sheet, i)[0, 0, 2]) for i in range(5)]
  assert shown == [0, 4, 8, 12, 16]
  for i in range(5):
    assert len(np.unique(tile(sheet, i).reshape(-1, 3), axis=0)) == 1


def test_a_short_scene_shows_each_frame_once():
  sheet = contact_sheet([scene(17), scene(3)], columns=8)
  y = 16 + 96 + 4 + 24 + 16
  assert [int(tile(sheet, i, y)[0, 0, 2]) for i in range(3)] == [0, 1, 2]
  assert (tile(sheet, 3, y) == 255).all()


@pytest.mark.parametrize('text', ['word ' * 60, 'x' * 300, 'short'])
def test_all_text_is_inside_the_sheet(text):
  sheet = contact_sheet([scene(2, text=text)], columns=2)
  marks = ink(sheet)
  assert len(marks)
  assert marks[:, 0].min() >= 16 + 96
  assert marks[:, 1].min() >= 16
  assert marks[:, 1].max() < sheet.shape[1] - 8
  assert marks[:, 0].max() < sheet.shape[0] - 8


def test_longer_text_takes_more_lines_not_more_width():
  short = contact_sheet([scene(4, text='word')])
  long = contact_sheet([scene(4, text='word ' * 100)])
  assert long.shape[1] == short.shape[1]
  assert long.shape[0] > short.shape[0] + 3 * 24


def test_the_footer_is_below_everything():
  plain = contact_sheet([scene(4)])
  footed = contact_sheet([scene(4)], footer='AI-generated')
  assert footed.shape[0] == plain.shape[0] + 24
  assert ink(footed)[:, 0].max() > ink(plain)[:, 0].max() + 16


def test_sheet_is_deterministic():
  sheets = [contact_sheet([scene(5), scene(9)]) for _ in range(2)]
  assert sheets[0].dtype == np.uint8 and sheets[0].shape[2] == 3
  np.testing.assert_array_equal(*sheets)


def test_sheets_without_frames_are_refused():
  with pytest.raises(ValueError, match='needs rows or images'):
    contact_sheet([])
  with pytest.raises(ValueError, match='needs rows or images'):
    contact_sheet([scene(0)])
  with pytest.raises(ValueError, match='columns is 0'):
    contact_sheet([scene(3)], columns=0)
  other = ('', np.zeros((2, 16, 32, 3), np.uint8))
  with pytest.raises(ValueError, match='one size'):
    contact_sheet([scene(3), other])


def image(value, text='a red circle'):
  return text, np.full((32, 32, 3), value, np.uint8)


def area(sheet, value):
  return (sheet == value).all(axis=-1).sum() / 32**2


def test_images_are_laid_out_in_a_grid():
  rows = [('a clip', np.full((9, 32, 32, 3), 200, np.uint8))]
  images = [image(150)] * 40
  sheet = contact_sheet(rows, images=images, columns=9, min_height=1)
  assert area(sheet, 200) == pytest.approx(9, abs=0.05)
  assert area(sheet, 150) == pytest.approx(40, abs=0.4)
  only = contact_sheet([], images=images, min_height=1)
  assert only.shape[1] == sheet.shape[1] and only.shape[0] < sheet.shape[0]


def test_large_image_widens_the_sheet():
  large = ('', np.full((8, 600, 3), 150, np.uint8))
  sheet = contact_sheet([], images=[large], min_height=1)
  assert sheet.shape[1] == 600 + 32


@pytest.mark.parametrize('text', ['words ' * 2000, 'x' * 10_000])
def test_long_captions_are_cut_to_the_maximum_number_of_lines(text):
  short = contact_sheet([scene(9)], images=[image(1)], max_lines=2)
  long = contact_sheet([scene(9, text=text)], images=[image(1)], max_lines=2)
  assert long.shape == (short.shape[0] + 24, short.shape[1], 3)


def test_title_is_above_everything():
  plain, titled = (
    contact_sheet([scene(4)], title=title) for title in ('', 'ten clips')
  )
  np.testing.assert_array_equal(titled[24 + 16 :][16:], plain[16:])
  assert len(ink(titled[: 16 + 24]))
