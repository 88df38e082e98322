import hashlib
import json

import av
import numpy as np
import pytest
from phenaki_jax.stories.script import Script, Shot, describe
from phenaki_jax.stories.telling import Footage
from PIL import Image

from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories import outputs as story_files
from phenaki_jax.stories.outputs import StoryFiles

MADE_BY = {'model': {'name': 'none', 'fingerprint': '0f'}}


def _script(*lengths, fps=8.0):
  shots = tuple(
    Shot(
      prompt=f'scene {i}',
      frames=frames,
      cut=not i,
      seed=i,
      settings=SamplingSettings(),
    )
    for i, frames in enumerate(lengths)
  )
  return Script(shots=shots, size=(16, 24), fps=fps, context_frames=5)


def _footage(script):
  rng = np.random.default_rng(0)
  for number, shot in enumerate(script.shots):
    for start in range(0, shot.frames, 4):
      count = min(4, shot.frames - start)
      frames = rng.integers(0, 256, (count, *script.size, 3)).astype(np.uint8)
      yield Footage(scene=number, start=start, frames=frames)


def _write(out, script):
  with StoryFiles(out, script, made_by=MADE_BY) as files:
    for footage in _footage(script):
      files.write(footage)
  return files.paths


def test_four_files_hold_every_frame_and_how_they_were_made(tmp_path):
  script = _script(9, 6)
  film, gif, sheet, record = _write(tmp_path / 'deep' / 'a.mp4', script)
  with av.open(str(film)) as container:
    assert sum(1 for _ in container.decode(video=0)) == 15
  with Image.open(gif) as picture:
    assert picture.n_frames == 15
  with Image.open(sheet) as picture:
    assert picture.width > 8 * 24
  content = json.loads(record.read_text())
  everything = b''.join(part.frames.tobytes() for part in _footage(script))
  assert content.pop('frames_sha256') == hashlib.sha256(everything).hexdigest()
  assert content == {
    'notice': 'AI-generated',
    **MADE_BY,
    'story': describe(script),
  }
  for path in (film, gif, sheet):
    assert read_provenance(path) == content
  assert sorted(p.name for p in (tmp_path / 'deep').iterdir()) == [
    'a.gif',
    'a.json',
    'a.mp4',
    'a.png',
  ]


def test_same_frames_give_the_same_bytes(tmp_path):
  script = _script(9)
  first = _write(tmp_path / 'one' / 'a.mp4', script)
  second = _write(tmp_path / 'two' / 'a.mp4', script)
  for one, other in zip(first, second, strict=True):
    assert one.read_bytes() == other.read_bytes(), one.suffix


def test_failure_leaves_what_was_there(tmp_path):
  paths = _write(tmp_path / 'a.mp4', _script(9))
  before = [path.read_bytes() for path in paths]
  with pytest.raises(KeyboardInterrupt):
    with StoryFiles(tmp_path / 'a.mp4', _script(5), made_by={}) as files:
      files.write(next(_footage(_script(5))))
      raise KeyboardInterrupt
  assert [path.read_bytes() for path in paths] == before
  assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_failure_of_the_last_file_leaves_what_was_there(tmp_path, monkeypatch):
  paths = _write(tmp_path / 'a.mp4', _script(9))
  before = [path.read_bytes() for path in paths]

  def full(*args, **options):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(story_files, 'write_png', full)
  with pytest.raises(OSError, match='No space'):
    _write(tmp_path / 'a.mp4', _script(5))
  assert [path.read_bytes() for path in paths] == before
  assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_long_stories_are_shown_in_part_and_say_so(tmp_path, monkeypatch):
  monkeypatch.setattr(story_files, 'MAX_GIF_FRAMES', 10)
  monkeypatch.setattr(story_files, 'MAX_SHEET_SCENES', 3)
  script = _script(*[4] * 7)
  film, gif, sheet, _ = _write(tmp_path / 'a.mp4', script)
  with av.open(str(film)) as container:
    assert sum(1 for _ in container.decode(video=0)) == 28
  with Image.open(gif) as picture:
    assert picture.n_frames == 10
  small = _write(tmp_path / 'b.mp4', _script(*[4] * 3))[2]
  with Image.open(sheet) as one, Image.open(small) as other:
    assert one.height == other.height


def test_fast_stories_leave_gif_frames_out(tmp_path):
  film, gif, _, _ = _write(tmp_path / 'a.mp4', _script(12, fps=120.0))
  with Image.open(gif) as picture:
    assert picture.n_frames == 4
  with av.open(str(film)) as container:
    assert container.streams.video[0].average_rate == 120


def test_other_endings_are_refused(tmp_path):
  with pytest.raises(ValueError, match='must end in .mp4'):
    StoryFiles(tmp_path / 'a.avi', _script(3), made_by={})
