from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import display, schema, transforms, video

ONE = 1 << 16
# Display matrices, and the same turn of an array [H, W, 3].
TURNS = {
  (ONE, 0, 0, ONE): lambda a: a,
  (0, ONE, -ONE, 0): lambda a: np.rot90(a, -1),
  (-ONE, 0, 0, -ONE): lambda a: np.rot90(a, 2),
  (0, -ONE, ONE, 0): lambda a: np.rot90(a, 1),
  (-ONE, 0, 0, ONE): lambda a: a[:, ::-1],
  (ONE, 0, 0, -ONE): lambda a: a[::-1],
  (0, ONE, ONE, 0): lambda a: a.transpose(1, 0, 2),
  (0, -ONE, -ONE, 0): lambda a: np.rot90(a, 2).transpose(1, 0, 2),
}


def with_matrix(a, b, c, d, aspect=None):
  def setup(stream):
    stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
    if aspect:
      stream.codec_context.sample_aspect_ratio = aspect

  return setup


def check_shown(data, expected, tolerance=3.0, frame=0):
  """Check the size and the pixels of a frame, at every way of decoding it."""
  info = video.examine(data)
  height, width = expected.shape[:2]
  assert (info.height, info.width) == (height, width)
  decoded = video.decode(data, size=(height, width))
  error = np.abs(decoded.frames[frame].astype(int) - expected).mean()
  assert error < tolerance
  times = decoded.times[frame : frame + 1]
  np.testing.assert_array_equal(
    video.sample(data, times, size=(height, width)), decoded.at(times)
  )


@pytest.mark.parametrize('matrix', TURNS, ids=str)
@pytest.mark.parametrize('container', ['mp4', 'mov', 'matroska'])
def test_every_display_matrix_is_applied(media, matrix, container):
  data = media.video(
    [media.picture()] * 3, container=container, setup=with_matrix(*matrix)
  )
  check_shown(data, TURNS[matrix](media.picture()))


def test_a_slanted_display_matrix_is_left_out_by_a_reason(media):
  data = media.video(
    [media.picture()] * 3, setup=with_matrix(56756, 32768, -32768, 56756)
  )
  with pytest.raises(schema.DecodeError, match='rotation_not_supported'):
    video.examine(data)
  with pytest.raises(schema.DecodeError, match='rotation_not_supported'):
    video.sample(data, np.zeros(1), size=(48, 48))


@pytest.mark.parametrize('container', ['mp4', 'matroska', 'avi'])
@pytest.mark.parametrize(
  'aspect, width',
  [((2, 1), 128), ((4, 3), 85), ((1, 2), 32), ((8, 9), 56), ((1, 1), 64)],
)
def test_the_pixel_aspect_ratio_is_applied(media, container, aspect, width):
  def setup(stream):
    stream.codec_context.sample_aspect_ratio = Fraction(*aspect)

  codec = 'mpeg4' if container == 'avi' else 'libx264'
  data = media.video(
    [media.picture()] * 3, container=container, codec=codec, setup=setup
  )
  check_shown(data, media.picture(width=width), tolerance=5.0)


@pytest.mark.parametrize('matrix', TURNS, ids=str)
def test_the_aspect_ratio_is_that_before_rotation(media, matrix):
  setup = with_matrix(*matrix, aspect=Fraction(2))
  data = media.video([media.picture()] * 3, setup=setup)
  check_shown(data, TURNS[matrix](media.picture(width=128)), tolerance=5.0)


def test_the_pixel_limit_is_that_of_the_screen(media, monkeypatch):
  def setup(stream):
    stream.codec_context.sample_aspect_ratio = Fraction(4)

  data = media.video([media.picture()] * 3, setup=setup)
  assert video.examine(data).width == 256
  monkeypatch.setattr(display, 'MAX_PIXELS', 256 * 48 - 1)
  with pytest.raises(schema.DecodeError, match='too_many_pixels'):
    video.examine(data)


def waves(height, width):
  """Return a picture that is smooth but colourful."""
  y, x = np.mgrid[:height, :width]
  angles = np.stack([x / 9 + y / 31, y / 8 - x / 23, (x + y) / 12], -1)
  return np.round(127.5 + 100 * np.sin(angles)).astype(np.uint8)


# The sizes of which a part is scaled without rounding are wide, high, cut at
# the sides or at the top, and whole; the last ones are cut in odd columns, or
# within a column.
@pytest.mark.parametrize(
  'shape, size',
  [
    *(((120, 160), (32, 32)), ((160, 120), (32, 48)), ((96, 128), (48, 64))),
    *(((96, 98), (32, 32)), ((96, 131), (32, 32))),
  ],
)
@pytest.mark.parametrize('matrix', list(TURNS)[:6:2], ids=str)
def test_a_smaller_frame_is_that_of_pillow(media, shape, size, matrix):
  picture = waves(*shape)
  data = media.video(
    [picture] * 2,
    setup=with_matrix(*matrix),
    pix_fmt='yuv444p',
    options={'qp': '1'},
  )
  (frame,) = video.sample(data, np.zeros(1), size=size)
  turned = np.ascontiguousarray(TURNS[matrix](picture))
  edges = transforms.crop_box(turned.shape[1], turned.shape[0], size)
  expected = Image.fromarray(turned).resize(
    size[::-1], Image.Resampling.BICUBIC, box=edges
  )
  error = np.abs(frame.astype(int) - np.asarray(expected, int))
  assert error.mean() < 3 and error.max() < 16


def test_every_pixel_of_a_smaller_frame_has_its_own_colour(media):
  # Stripes of one pixel of the result, red and blue.
  stripes = np.zeros((64, 64, 3), np.uint8)
  stripes[:, np.arange(64) // 4 % 2 == 0, 0] = 255
  stripes[:, np.arange(64) // 4 % 2 == 1, 2] = 255
  data = media.video([stripes] * 2, options={'qp': '1'})
  (frame,) = video.sample(data, np.zeros(1), size=(16, 16))
  colours = frame[:, 2:-2].astype(int)
  assert (colours[:, ::2, 0] - colours[:, ::2, 2]).min() > 150
  assert (colours[:, 1::2, 2] - colours[:, 1::2, 0]).min() > 150


@pytest.mark.parametrize('order', ['tff', 'bff'])
def test_interlaced_frames_are_deinterlaced(media, order):
  # A bright bar moves by two pixels from field to field.
  fields = np.full((100, 48, 64, 3), 40, np.uint8)
  for i in range(100):
    fields[i, 8:40, i % 40 + 4 : i % 40 + 20] = 200
  frames = fields[::2].copy()
  second = 1 if order == 'tff' else 0
  frames[:, second::2] = fields[1::2, second::2]
  data = media.video(
    list(frames), fps=25, fields=order, options={'x264-params': f'{order}=1'}
  )
  whole = video.decode(data, size=(48, 64))
  assert len(whole.frames) == 50

  def combing(frames):
    """Return by how much a row differs from both rows around it."""
    rows = frames[1:-1, 10:38, :, 0].astype(int)
    return np.abs(2 * rows[:, 1:-1] - rows[:, :-2] - rows[:, 2:]).mean()

  assert combing(frames) > 5
  assert combing(whole.frames) < 1
  expected = fields[::2]
  assert np.abs(whole.frames.astype(int) - expected)[2:-2].mean() < 3
  # Seeking must not change the neighbours that a frame is made from.
  for start in (0.0, 0.04, 1.2, 1.4, 1.44, 1.9):
    times = start + np.arange(3) / 25
    np.testing.assert_array_equal(
      video.sample(data, times, size=(48, 64)), whole.at(times)
    )


def test_only_interlaced_frames_wait_for_the_next():
  class Frame:
    def __init__(self, interlaced_frame):
      self.interlaced_frame = interlaced_frame

  frames = [Frame(False), Frame(True), Frame(True), Frame(False)]
  read = []

  def source():
    for i, frame in enumerate(frames):
      read.append(i)
      yield float(i), frame

  seen = []
  for time, shown in display.with_neighbours(source()):
    seen.append((time, len(read)))
    i = int(time)
    assert shown.frame is frames[i]
    assert shown.before is (frames[i - 1] if i else None)
    if shown.frame.interlaced_frame:
      assert shown.after is frames[i + 1]
  assert seen == [(0.0, 1), (1.0, 3), (2.0, 4), (3.0, 4)]


def bt709(height, width):
  """Return a flat colour in BT.709, and its limited Y, Cb and Cr."""
  red, green, blue = 200 / 255, 30 / 255, 30 / 255
  luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
  values = (
    *(16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556),
    128 + 224 * (red - luma) / 1.5748,
  )
  return np.full((height, width, 3), (200, 30, 30)), np.round(values)


@pytest.mark.parametrize('size', [(720, 1280), (1280, 720), (1080, 1920)])
def test_untagged_hd_is_bt709(media, size):
  expected, values = bt709(*size)
  data = media.yuv_video(values, *size)
  check_shown(data, expected)


def test_untagged_sd_is_bt601(media):
  expected, values = bt709(480, 640)
  data = media.yuv_video(values, 480, 640)
  frame = video.sample(data, np.zeros(1), size=(480, 640))[0]
  assert np.abs(frame.astype(int) - expected).mean() > 5
  tagged = media.yuv_video(values, 480, 640, matrix=1)
  check_shown(tagged, expected)


def test_hdr_is_tone_mapped(media):
  # Grey of 203 cd/m2 is 58 % in PQ and 75 % in HLG; see ITU-R BT.2408.
  for transfer, share in ((16, 0.5807), (18, 0.75)):
    data = media.yuv_video(
      (16 + 219 * share, 128, 128), 48, 64, matrix=9, transfer=transfer
    )
    # A step of 8 bits is two levels here.
    check_shown(data, np.full((48, 64, 3), 255), tolerance=4.0)


@pytest.mark.parametrize('matrix, transfer', [(8, 1), (14, 16), (1, 8), (1, 9)])
def test_other_colours_are_left_out_by_a_reason(media, matrix, transfer):
  data = media.yuv_video(
    (80, 128, 128), 48, 64, matrix=matrix, transfer=transfer
  )
  with pytest.raises(schema.DecodeError, match='colour_not_supported'):
    video.examine(data)


def test_hdr_with_wide_pixels_is_tone_mapped(media):
  data = media.yuv_video(
    (16 + 219 * 0.5807, 128, 128), 48, 64, matrix=9, transfer=16, aspect=2
  )
  check_shown(data, np.full((48, 128, 3), 255), tolerance=4.0)


@pytest.mark.parametrize('aspect', [1, 2])
def test_subsampled_colours_of_hdr_are_interpolated(media, aspect):
  def setup(stream):
    context = stream.codec_context
    context.colorspace, context.color_trc, context.color_range = 9, 16, 1
    context.sample_aspect_ratio = Fraction(aspect)

  wave = 90 + 20 * np.sin(np.arange(64) / 6)
  frame = np.stack([wave, 180 - wave, np.full(64, 90)], -1).astype(np.uint8)
  frames = [np.repeat(frame[None], 48, axis=0)] * 3

  def roughness(pix_fmt):
    data = media.video(
      frames, pix_fmt=pix_fmt, setup=setup, options={'qp': '0'}
    )
    shown = video.sample(data, np.zeros(1), size=(48, 64 * aspect))
    return np.abs(np.diff(shown.astype(int), 2, axis=2)).mean()

  # Repeated colours would be steps.
  assert roughness('yuv420p') < 1.5 * roughness('yuv444p')
