"""MP4 files play back what was written."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from phenaki_jax.media.mp4 import Mp4Writer, write_mp4

PROVENANCE = {'seed': 7, 'prompts': ['a star', 'it falls']}
# Frames without the label.
RECORDED = {'notice': 'recorded'}

# x264 can encode this film differently from call to call.
FILM = """
import sys
from phenaki_jax import storyworld
from phenaki_jax.media.mp4 import write_mp4
frames = storyworld.training_clip(0, 3, 'easy', frames=17, size=64).frames
write_mp4(sys.argv[1], frames, fps=8, provenance={}, min_height=1)
"""


def read_mp4(path):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    frames = [f.to_ndarray(format='rgb24') for f in container.decode(stream)]
    return (
      np.stack(frames),
      stream.average_rate,
      stream.duration * (stream.time_base),
    )


def test_frames_come_back_enlarged_in_their_colours(tmp_path, film):
  path = tmp_path / 'new' / 'film.mp4'
  write_mp4(path, film(), fps=8, provenance=RECORDED)
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
def test_odd_sizes_gain_one_line(tmp_path, size, expected, film):
  # Grey, because colour has half the resolution.
  given = film(4, *size)[..., :1].repeat(3, axis=-1)
  path = tmp_path / 'film.mp4'
  write_mp4(path, given, fps=8, provenance=RECORDED, min_height=1)
  frames, _, _ = read_mp4(path)
  assert frames.shape == (4, *expected, 3)
  inside = frames[:, : size[0], : size[1]].astype(int)
  assert np.abs(inside - given).mean() < 2
  assert np.abs(inside - given).max() < 24


def test_colours_are_tagged(tmp_path, film):
  path = tmp_path / 'film.mp4'
  write_mp4(path, film(), fps=8, provenance={})
  with av.open(str(path)) as container:
    context = container.streams.video[0].codec_context
    assert (context.colorspace, context.color_primaries) == (1, 1)
    assert (context.pix_fmt, context.name) == ('yuv420p', 'h264')


def test_the_same_frames_give_the_same_file(tmp_path, film):
  for name in ('a', 'b'):
    write_mp4(tmp_path / f'{name}.mp4', film(), fps=8, provenance=PROVENANCE)
  assert (tmp_path / 'a.mp4').read_bytes() == (tmp_path / 'b.mp4').read_bytes()


def test_the_file_does_not_depend_on_what_was_in_memory(tmp_path):
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
def test_any_frame_rate(tmp_path, fps, film):
  path = tmp_path / 'film.mp4'
  write_mp4(path, film(5), fps=fps, provenance={}, min_height=1)
  frames, rate, _ = read_mp4(path)
  assert len(frames) == 5
  assert float(rate) == pytest.approx(fps, rel=1e-3)


def test_the_name_appears_with_the_last_frame(tmp_path, film):
  path = tmp_path / 'film.mp4'
  with Mp4Writer(path, fps=8, provenance={}) as writer:
    for frame in film():
      writer.write(frame)
    assert not path.exists()
  assert [entry.name for entry in tmp_path.iterdir()] == ['film.mp4']


def test_an_exception_keeps_the_old_film_and_nothing_else(tmp_path, film):
  path = tmp_path / 'film.mp4'
  write_mp4(path, film(), fps=8, provenance={})
  before = path.read_bytes()
  with pytest.raises(KeyError):
    with Mp4Writer(path, fps=8, provenance={}) as writer:
      writer.write(film()[0])
      raise KeyError('sampling failed')
  assert path.read_bytes() == before
  assert [entry.name for entry in tmp_path.iterdir()] == ['film.mp4']


def test_no_frames_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='no frame was written'):
    write_mp4(tmp_path / 'film.mp4', [], fps=8, provenance={})
  assert not list(tmp_path.iterdir())


def test_frames_of_several_sizes_are_refused(tmp_path, film):
  frames = [film()[0], film(1, 32, 24)[0]]
  with pytest.raises(ValueError, match='frame 1 has the shape'):
    write_mp4(tmp_path / 'film.mp4', frames, fps=8, provenance={})
