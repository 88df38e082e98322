"""Files play back what was written."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.media import film as media

PROVENANCE = {'seed': 7, 'prompts': ['a star', 'it falls']}

# Writes a film that x264 made differently from call to call.
FILM = """
import sys
from phenaki_jax import storyworld
from phenaki_jax.media import film as media
frames = storyworld.training_clip(0, 3, 'easy', frames=17, size=64).frames
media.write_mp4(sys.argv[1], frames, fps=8, provenance={}, min_height=1)
"""


def film(num_frames=6, height=16, width=24):
  """Draw a square of a strong colour that moves over another."""
  frames = np.full((num_frames, height, width, 3), (30, 90, 200), np.uint8)
  for i in range(num_frames):
    frames[i, 4:10, 2 + i : 10 + i] = (220, 40, 30)
  return frames


def read_mp4(path):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    frames = [f.to_ndarray(format='rgb24') for f in container.decode(stream)]
    return (
      np.stack(frames),
      stream.average_rate,
      stream.duration * (stream.time_base),
    )


def read_gif(path):
  frames, delays = [], []
  with Image.open(path) as picture:
    for i in range(picture.n_frames):
      picture.seek(i)
      frames.append(np.asarray(picture.convert('RGB')))
      delays.append(picture.info['duration'])
  return np.stack(frames), delays


class TestMp4:
  def test_frames_come_back_enlarged_in_their_colours(self, tmp_path):
    path = tmp_path / 'new' / 'film.mp4'
    media.write_mp4(path, film(), fps=8, provenance=PROVENANCE)
    frames, rate, duration = read_mp4(path)
    assert frames.shape == (6, 256, 384, 3)
    assert rate == 8
    assert duration == 6 / 8
    # The middle of each enlarged pixel, away from blurred colour edges.
    error = np.abs(frames[:, 8::16, 8::16].astype(int) - film())
    assert error.mean() < 3
    assert error.max() < 16

  @pytest.mark.parametrize(
    'size, expected',
    [((16, 24), (16, 24)), ((17, 23), (18, 24)), ((33, 48), (34, 48))],
  )
  def test_odd_sizes_gain_a_line_and_keep_the_rest(
    self, tmp_path, size, expected
  ):
    # Grey, because colour has half the resolution.
    given = film(4, *size)[..., :1].repeat(3, axis=-1)
    path = tmp_path / 'film.mp4'
    media.write_mp4(path, given, fps=8, provenance={}, min_height=1)
    frames, _, _ = read_mp4(path)
    assert frames.shape == (4, *expected, 3)
    inside = frames[:, : size[0], : size[1]].astype(int)
    assert np.abs(inside - given).mean() < 2
    assert np.abs(inside - given).max() < 24

  def test_colours_are_tagged(self, tmp_path):
    path = tmp_path / 'film.mp4'
    media.write_mp4(path, film(), fps=8, provenance={})
    with av.open(str(path)) as container:
      context = container.streams.video[0].codec_context
      assert (context.colorspace, context.color_primaries) == (1, 1)
      assert (context.pix_fmt, context.name) == ('yuv420p', 'h264')

  def test_the_same_frames_give_the_same_file(self, tmp_path):
    for name in ('a', 'b'):
      media.write_mp4(
        tmp_path / f'{name}.mp4', film(), fps=8, provenance=PROVENANCE
      )
    assert (tmp_path / 'a.mp4').read_bytes() == (
      tmp_path / 'b.mp4'
    ).read_bytes()

  def test_the_file_does_not_depend_on_what_was_in_memory(self, tmp_path):
    # Where the C library knows the variable, it fills fresh memory with it.
    path = tmp_path / 'film.mp4'
    for value in ('0', '85'):
      subprocess.run(
        [sys.executable, '-c', FILM, path.with_stem(value)],
        env={**os.environ, 'MALLOC_PERTURB_': value},
        check=True,
      )
    content = path.with_stem('0').read_bytes()
    assert content == path.with_stem('85').read_bytes()
    # The encoder writes its settings down; more threads give other files.
    assert b' threads=1 lookahead_threads=1 ' in content

  @pytest.mark.parametrize('fps', [7.5, 24000 / 1001, 30])
  def test_any_pace(self, tmp_path, fps):
    path = tmp_path / 'film.mp4'
    media.write_mp4(path, film(5), fps=fps, provenance={}, min_height=1)
    frames, rate, _ = read_mp4(path)
    assert len(frames) == 5
    assert float(rate) == pytest.approx(fps, rel=1e-3)

  def test_the_name_appears_with_the_last_frame(self, tmp_path):
    path = tmp_path / 'film.mp4'
    with media.Mp4Writer(path, fps=8, provenance={}) as writer:
      for frame in film():
        writer.write(frame)
      assert writer.num_frames == 6
      assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ['film.mp4']

  def test_an_exception_keeps_the_old_film_and_nothing_else(self, tmp_path):
    path = tmp_path / 'film.mp4'
    media.write_mp4(path, film(), fps=8, provenance={})
    before = path.read_bytes()
    with pytest.raises(KeyError):
      with media.Mp4Writer(path, fps=8, provenance={}) as writer:
        writer.write(film()[0])
        raise KeyError('sampling failed')
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ['film.mp4']

  def test_no_frames_is_an_error(self, tmp_path):
    with pytest.raises(ValueError, match='no frame was written'):
      media.write_mp4(tmp_path / 'film.mp4', [], fps=8, provenance={})
    assert not list(tmp_path.iterdir())

  def test_frames_of_several_sizes_are_refused(self, tmp_path):
    frames = [film()[0], film(1, 32, 24)[0]]
    with pytest.raises(ValueError, match='frame 1 has the shape'):
      media.write_mp4(tmp_path / 'film.mp4', frames, fps=8, provenance={})

  @pytest.mark.parametrize('quality', [-1, 52])
  def test_an_impossible_quality_is_refused(self, tmp_path, quality):
    with pytest.raises(ValueError, match=f'quality is {quality}'):
      media.Mp4Writer(
        tmp_path / 'film.mp4', fps=8, provenance={}, quality=quality
      )


class TestGif:
  def test_frames_come_back(self, tmp_path):
    path = tmp_path / 'film.gif'
    media.write_gif(path, film(), fps=10, provenance=PROVENANCE)
    frames, delays = read_gif(path)
    enlarged = film().repeat(16, axis=1).repeat(16, axis=2)
    assert delays == [100] * 6
    np.testing.assert_allclose(frames, enlarged, atol=8)

  def test_the_film_keeps_its_pace_although_delays_are_rounded(self, tmp_path):
    path = tmp_path / 'film.gif'
    media.write_gif(path, film(9), fps=8, provenance={}, min_height=1)
    _, delays = read_gif(path)
    assert set(delays) == {120, 130}
    assert sum(delays) == pytest.approx(9 / 8 * 1000, abs=5)

  def test_it_repeats_forever(self, tmp_path):
    path = tmp_path / 'film.gif'
    media.write_gif(path, film(), fps=8, provenance={})
    with Image.open(path) as picture:
      assert picture.info['loop'] == 0

  def test_still_colours_do_not_flicker(self, tmp_path):
    # Noise in one half would draw a palette of its own for each frame.
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    frames[:, :, :16] = np.arange(16)[None, None, :, None] * 16
    path = tmp_path / 'film.gif'
    media.write_gif(path, frames, fps=8, provenance={}, min_height=1)
    still = read_gif(path)[0][:, :, :16]
    np.testing.assert_array_equal(still, np.broadcast_to(still[0], still.shape))

  def test_too_fast_for_viewers_is_refused(self, tmp_path):
    with pytest.raises(ValueError, match='fps is 60'):
      media.write_gif(tmp_path / 'a.gif', film(), fps=60, provenance={})

  def test_no_frames_and_several_sizes_are_refused(self, tmp_path):
    path = tmp_path / 'a.gif'
    with pytest.raises(ValueError, match='no frames'):
      media.write_gif(path, [], fps=8, provenance={})
    with pytest.raises(ValueError, match='one size'):
      media.write_gif(path, [film()[0], film(1, 8, 8)[0]], fps=8, provenance={})
    assert not list(tmp_path.iterdir())


def test_a_picture_comes_back_exactly(tmp_path):
  image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
  media.write_png(tmp_path / 'a.png', image, provenance=PROVENANCE)
  with Image.open(tmp_path / 'a.png') as picture:
    np.testing.assert_array_equal(np.asarray(picture), image)


@pytest.mark.parametrize(
  'frame, message',
  [
    (np.zeros((4, 4, 3), np.float32), 'uint8 values 0..255, not float32'),
    (np.zeros((4, 4), np.uint8), r'not \(4, 4\)'),
    (np.zeros((4, 4, 4), np.uint8), r'not \(4, 4, 4\)'),
    (np.zeros((2, 4, 4, 3), np.uint8), r'not \(2, 4, 4, 3\)'),
    (np.zeros((0, 4, 3), np.uint8), r'not \(0, 4, 3\)'),
  ],
)
def test_what_is_no_frame_is_refused(tmp_path, frame, message):
  with pytest.raises(ValueError, match=message):
    media.write_png(tmp_path / 'a.png', frame, provenance={})
  with pytest.raises(ValueError, match=message):
    media.write_gif(tmp_path / 'a.gif', [frame], fps=8, provenance={})
  with pytest.raises(ValueError, match=message):
    media.write_mp4(tmp_path / 'a.mp4', [frame], fps=8, provenance={})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('fps', [0, -8, 1001, float('nan')])
def test_an_impossible_pace_is_refused(tmp_path, fps):
  with pytest.raises(ValueError, match=f'fps is {fps}'):
    media.write_mp4(tmp_path / 'a.mp4', film(), fps=fps, provenance={})


@pytest.mark.parametrize(
  'height, least, expected',
  [(32, 256, 256), (48, 256, 288), (256, 256, 256), (300, 256, 300), (7, 1, 7)],
)
def test_small_pictures_grow_by_whole_factors(height, least, expected):
  image = np.random.default_rng(0).integers(0, 256, (height, 5, 3), np.uint8)
  large = media.enlarge(image, least)
  factor = expected // height
  assert large.shape == (expected, 5 * factor, 3)
  np.testing.assert_array_equal(large[::factor, ::factor], image)


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
def test_another_ending_is_refused(tmp_path, suffix):
  wrong = tmp_path / 'a.avi'
  frame = film()[0]
  with pytest.raises(ValueError, match=f'must end in {suffix}'):
    if suffix == '.png':
      media.write_png(wrong, frame, provenance={})
    elif suffix == '.gif':
      media.write_gif(wrong, [frame], fps=8, provenance={})
    else:
      media.write_mp4(wrong, [frame], fps=8, provenance={})
