"""The Python lines of the README run as they stand there."""

import pathlib
import re

import numpy as np

from phenaki_jax.media.provenance import read_provenance

README = pathlib.Path(__file__).resolve().parents[1] / 'README.md'


def test_python_lines_run(tmp_path, monkeypatch):
  (block,) = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(compile(block, README, 'exec'), names)
  film, frames = names['film'], names['frames']
  scenes = read_provenance('story.mp4')['story']['scenes']
  assert [scene['seed'] for scene in scenes] == [4, 4]
  assert frames.dtype == np.uint8 and frames.shape[1:] == film.frames.shape[1:]
  # The tokens keep what the film shows.
  error = frames[: len(film.frames)].astype(int) - film.frames
  assert np.abs(error).mean() < 8


def test_first_screen_is_short():
  assert len(README.read_text().splitlines()) < 200
