"""The timeline shows what `generate` does."""

import numpy as np
import pytest

from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories import timeline, timeline_figure
from phenaki_jax.stories.generate import generate, plan_story
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve


class Maker:
  """Makes clips whose frames are numbered, and records what they see."""

  clip_frames = 9

  def __init__(self):
    self.seen = []
    self.made = 0

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    seen = 0 if context is None else context.shape[1]
    self.seen.append([] if context is None else context[0, :, 0, 0, 0].tolist())
    grey = np.zeros((1, 9, *size, 3), np.uint8)
    # Frames that are dropped at the end of a scene get their numbers again.
    grey += np.arange(self.made - seen, self.made - seen + 9).astype(np.uint8)[
      None, :, None, None, None
    ]
    return grey


def _story(*scenes, **story):
  scenes = tuple(
    Scene(**{'prompt': f'scene {i}', **scene}) for i, scene in enumerate(scenes)
  )
  defaults = ModelDefaults(
    size=(8, 8),
    fps=8.0,
    context_frames=5,
    clip_frames=9,
    tubelet=2,
    settings=SamplingSettings(steps=2),
  )
  return resolve(Story(scenes=scenes, **story), defaults)


STORIES = {
  'one': ([{'frames': 17}], {}),
  'several': ([{'frames': 11}, {'frames': 2}, {'frames': 9}], {}),
  'own context': ([{'frames': 9}, {'frames': 12, 'context_frames': 3}], {}),
  'cut': ([{'frames': 9}, {'frames': 5, 'cut': True}, {'frames': 1}], {}),
  'start': ([{'frames': 6, 'start': 'a'}, {'frames': 6}], {0: 4}),
  'image': ([{'frames': 9}, {'frames': 7, 'start': 'b.png'}], {1: 1}),
}


@pytest.mark.parametrize(('scenes', 'starts'), STORIES.values(), ids=STORIES)
def test_plan_is_what_is_generated(scenes, starts):
  maker = Maker()
  story = _story(*scenes)
  frames = {
    number: np.full((count, 8, 8, 3), 200, np.uint8)
    for number, count in starts.items()
  }
  plan = list(plan_story(maker, story, frames))
  chunks = []
  for chunk in generate(maker, story, starts=frames):
    chunks.append(chunk)
    maker.made += len(chunk.frames)
  assert [(w.scene, w.frames) for w in plan] == [
    (c.scene, len(c.frames)) for c in chunks
  ]
  for window, seen, chunk in zip(plan, maker.seen, chunks, strict=True):
    given = [200] * (window.sees - window.sees_story)
    shown = range(window.start - window.sees_story, window.start)
    assert seen == [*given, *shown]
    numbers = chunk.frames[:, 0, 0, 0].tolist()
    assert numbers == list(range(window.start, window.start + window.frames))


def test_text_names_prompts_frames_and_what_is_seen():
  story = _story(
    {'frames': 9},
    {'frames': 7, 'negative': 'a dog', 'candidates': 3},
    {'frames': 2, 'start': 'b.png'},
    style='in snow',
  )
  maker = Maker()
  starts = {2: np.zeros((1, 8, 8, 3), np.uint8)}
  text = timeline.to_text(story, plan_story(maker, story, starts))
  assert text.splitlines() == [
    'scene 1: frames 0-8 (0.00-1.12 s)',
    '  "scene 0, in snow"',
    '  guidance 3, 2 steps, seed 0',
    '    frames 0-8 see nothing',
    'scene 2: frames 9-15 (1.12-2.00 s)',
    '  "scene 1, in snow"',
    '  guidance 3, 2 steps, seed 0, best of 3 by likelihood',
    '  away from "a dog"',
    '    frames 9-12 see frames 4-8',
    '    frames 13-15 see frames 8-12',
    'scene 3: frames 16-17 (2.00-2.25 s)',
    '  "scene 2, in snow"',
    '  guidance 3, 2 steps, seed 0',
    '    frames 16-17 see the last 1 of b.png',
  ]
  # A model with a history is also shown the scene that shares most words.
  windows = list(plan_story(maker, story, starts))
  more = timeline.to_text(story, windows, slots=1).splitlines()
  added = [line for line in more if line not in text.splitlines()]
  assert added == [
    '  remembers scene 1: first frame and prompt',
    '  remembers scene 2: first frame and prompt',
  ]
  assert more.index(added[0]) == 8


def test_picture_shows_each_scene_in_its_row():
  story = _story({'frames': 9}, {'frames': 9, 'prompt': 'long ' * 99})
  windows = list(plan_story(Maker(), story))
  picture = timeline_figure.draw_timeline(story, windows)
  rows = picture[[20, 64]].astype(int)
  left, right = picture.shape[1] // 4, picture.shape[1] * 3 // 4
  white = [255, 255, 255]
  assert rows[0, left].tolist() != white and rows[0, right].tolist() == white
  assert rows[1, right].tolist() != white
  seen = (rows[1] == timeline_figure.SEEN).all(-1)
  # Five of the 18 frames are seen.
  width = picture.shape[1] - 32
  assert seen.sum() == pytest.approx(5 / 18 * width, abs=2)
  assert np.flatnonzero(seen).max() == pytest.approx(16 + width / 2, abs=2)


def test_a_long_story_is_drawn_in_part(monkeypatch):
  monkeypatch.setattr(timeline_figure, 'MAX_ROWS', 3)
  story = _story(*[{'frames': 3}] * 5)
  windows = list(plan_story(Maker(), story))
  short = timeline_figure.draw_timeline(story, windows)
  assert len(short) == 2 * 16 + 4 * 44
