import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.errors import UserError
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories import outputs
from phenaki_jax.stories.generate import Chunk
from phenaki_jax.stories.outputs import StoryFiles
from phenaki_jax.stories.seeds import describe
from phenaki_jax.stories.story import Scene, Story

MADE_BY = {'model': {'name': 'none', 'fingerprint': '0f'}}


def _story(*lengths, fps=8.0):
  scenes = tuple(
    Scene(prompt=f'scene {i}', frames=frames, cut=not i, seed=i)
    for i, frames in enumerate(lengths)
  )
  return Story(
    scenes=scenes,
    size=(16, 24),
    fps=fps,
    context_frames=5,
    sampling=SamplingSettings(),
  )


def _chunks(story):
  rng = np.random.default_rng(0)
  for number, scene in enumerate(story.scenes):
    for start in range(0, scene.frames, 4):
      count = min(4, scene.frames - start)
      frames = rng.integers(0, 256, (count, *story.size, 3)).astype(np.uint8)
      yield Chunk(scene=number, start=start, frames=frames)


def _write(out, story):
  with StoryFiles(out, story, made_by=MADE_BY) as files:
    for chunk in _chunks(story):
      files.write(chunk)
  return files.paths


@pytest.mark.parametrize('labelled', [True, False])
def test_film_and_gif_have_the_label_if_it_is_on(tmp_path, labelled):
  film, gif = tmp_path / 'a.mp4', tmp_path / 'a.gif'
  frames = np.full((5, 16, 24, 3), 90, np.uint8)
  with StoryFiles(film, _story(5), made_by={}, labelled=labelled) as files:
    files.write(Chunk(scene=0, start=0, frames=frames))
  with av.open(str(film)) as container:
    shown = [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]
  with Image.open(gif) as picture:
    shown.append(np.asarray(picture.convert('RGB')))
  assert [one.max() > 200 for one in shown] == [labelled] * 6
  assert read_provenance(film)['notice'] == 'AI-generated'
  assert read_provenance(gif)['notice'] == 'AI-generated'


def test_files_contain_every_frame_and_their_provenance(tmp_path):
  story = _story(9, 6)
  film, gif, sheet, record = _write(tmp_path / 'deep' / 'a.mp4', story)
  with av.open(str(film)) as container:
    assert sum(1 for _ in container.decode(video=0)) == 15
  with Image.open(gif) as picture:
    assert picture.n_frames == 15
  with Image.open(sheet) as picture:
    assert picture.width > 8 * 24
  content = json.loads(record.read_text())
  everything = b''.join(part.frames.tobytes() for part in _chunks(story))
  assert content.pop('frames_sha256') == hashlib.sha256(everything).hexdigest()
  assert content == {
    'notice': 'AI-generated',
    **MADE_BY,
    'story': describe(story),
    'remarks': [],
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
  story = _story(9)
  first = _write(tmp_path / 'one' / 'a.mp4', story)
  second = _write(tmp_path / 'two' / 'a.mp4', story)
  for one, other in zip(first, second, strict=True):
    assert one.read_bytes() == other.read_bytes(), one.suffix


def test_failure_keeps_the_earlier_files(tmp_path):
  paths = _write(tmp_path / 'a.mp4', _story(9))
  before = [path.read_bytes() for path in paths]
  with pytest.raises(KeyboardInterrupt):
    with StoryFiles(tmp_path / 'a.mp4', _story(5), made_by={}) as files:
      files.write(next(_chunks(_story(5))))
      raise KeyboardInterrupt
  assert [path.read_bytes() for path in paths] == before
  assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_failure_of_the_last_file_keeps_the_earlier_files(
  tmp_path, monkeypatch
):
  paths = _write(tmp_path / 'a.mp4', _story(9))
  before = [path.read_bytes() for path in paths]

  def full(*args, **options):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(outputs, 'write_png', full)
  with pytest.raises(OSError, match='No space'):
    _write(tmp_path / 'a.mp4', _story(5))
  assert [path.read_bytes() for path in paths] == before
  assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_gif_and_sheet_of_long_stories_are_limited(tmp_path, monkeypatch):
  monkeypatch.setattr(outputs, 'MAX_GIF_FRAMES', 10)
  monkeypatch.setattr(outputs, 'MAX_SHEET_SCENES', 3)
  story = _story(*[4] * 7)
  film, gif, sheet, _ = _write(tmp_path / 'a.mp4', story)
  with av.open(str(film)) as container:
    assert sum(1 for _ in container.decode(video=0)) == 28
  with Image.open(gif) as picture:
    assert picture.n_frames == 10
  small = _write(tmp_path / 'b.mp4', _story(*[4] * 3))[2]
  with Image.open(sheet) as one, Image.open(small) as other:
    assert one.height == other.height


def test_gif_of_a_fast_story_leaves_out_frames(tmp_path):
  film, gif, _, _ = _write(tmp_path / 'a.mp4', _story(12, fps=120.0))
  with Image.open(gif) as picture:
    assert picture.n_frames == 4
  with av.open(str(film)) as container:
    assert container.streams.video[0].average_rate == 120


def test_other_suffixes_are_refused(tmp_path):
  with pytest.raises(ValueError, match='must end in .mp4'):
    StoryFiles(tmp_path / 'a.avi', _story(3), made_by={})


def test_gif_that_is_cut_is_remarked(tmp_path, monkeypatch):
  monkeypatch.setattr(outputs, 'MAX_GIF_FRAMES', 10)
  with StoryFiles(tmp_path / 'a.mp4', _story(9, 6), made_by={}) as files:
    for chunk in _chunks(_story(9, 6)):
      files.write(chunk)
  sentence = 'a.gif shows the first 10 of 15 frames; a.mp4 has all of them'
  assert [remark.sentence for remark in files.remarks] == [sentence]
  record = json.loads((tmp_path / 'a.json').read_text())
  assert record['remarks'] == [{'sentence': sentence}]


def test_characters_that_the_font_lacks_are_remarked(tmp_path):
  scenes = (
    Scene(prompt='"A ball", 1 + 1 = #2 (left)!', frames=1, cut=True, seed=0),
    Scene(
      prompt='赤い \U0001fae8 circle \U000f0000', frames=1, cut=False, seed=0
    ),
  )
  story = dataclasses.replace(_story(1, 1), scenes=scenes)
  files = StoryFiles(tmp_path / 'a.mp4', story, made_by={})
  (remark,) = files.remarks
  assert remark.scene == 2
  boxes = r"scene 2: a.png shows boxes for '\U0001fae8\U000f0000'"
  assert boxes in remark.sentence


class Maker:
  """Makes black clips of three frames, with an action before each."""

  clip_frames = 3

  def __init__(self, action=lambda: None):
    self.action = action

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    self.action()
    return np.zeros((len(prompts), 3, *size, 3), np.uint8)


def _generate(out, maker=None):
  story = dataclasses.replace(_story(3, 3), context_frames=1)
  return outputs.write_story(maker or Maker(), story, out, made_by=MADE_BY)


def test_second_story_with_the_same_out_is_refused_at_once(tmp_path):
  refused = []

  def tell_another():
    other = Maker(lambda: refused.append('generated'))
    with pytest.raises(UserError, match='Another run is writing') as caught:
      _generate(tmp_path / 'a.mp4', other)
    assert 'another --out' in str(caught.value)
    refused.append('refused')

  paths = _generate(tmp_path / 'a.mp4', Maker(tell_another))
  assert refused and set(refused) == {'refused'}
  assert all(path.is_file() for path in paths)
  _generate(tmp_path / 'a.mp4')


def test_leftovers_of_a_killed_story_are_swept(tmp_path):
  code = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import outputs_test
outputs_test._generate(
  pathlib.Path(sys.argv[2]),
  outputs_test.Maker(lambda: os.kill(os.getpid(), signal.SIGKILL)),
)
"""
  here = os.path.dirname(__file__)
  out = tmp_path / 'a.mp4'
  ended = subprocess.run([sys.executable, '-c', code, here, str(out)])
  assert ended.returncode == -9
  assert list(tmp_path.glob('.a.mp4.part-*'))
  assert list((tmp_path / 'a.scenes').glob('.*.part-*'))
  (tmp_path / '.b.mp4.part-12345678').mkdir()
  _generate(out)
  assert sorted(path.name for path in tmp_path.glob('.*')) == [
    '.b.mp4.part-12345678'
  ]
  assert not list((tmp_path / 'a.scenes').glob('.*.part-*'))


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png', '.json'])
def test_every_target_is_checked_first(tmp_path, suffix):
  (tmp_path / f'a{suffix}').mkdir()
  with pytest.raises(UserError, match=rf'a\{suffix} is a folder'):
    outputs.output_paths(tmp_path / 'a.mp4')


def test_places_that_cannot_be_written_are_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='file is not a folder'):
    outputs.output_paths(tmp_path / 'file' / 'new' / 'a.mp4')
  with pytest.raises(UserError, match='--out is gs://bucket/a.mp4, but'):
    outputs.output_paths('gs://bucket/a.mp4')
  assert list(tmp_path.iterdir()) == [tmp_path / 'file']
