"""Films whose drift is known."""

import json

import numpy as np
import pytest

from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories import drift as drift_lib
from phenaki_jax.stories.drift import DriftMeter, sharpness
from phenaki_jax.stories.drift_figure import draw_drift
from phenaki_jax.stories.judge import Verdict
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve
from phenaki_jax.stories.timeline import plan

SIZE = (16, 24)
LENGTHS = {'clip_frames': 9, 'tubelet': 2}


def _story(*lengths, cuts=()):
  scenes = tuple(
    Scene(prompt=f'scene {i}', frames=frames, cut=i in cuts)
    for i, frames in enumerate(lengths)
  )
  defaults = ModelDefaults(
    size=SIZE,
    fps=8.0,
    context_frames=5,
    settings=SamplingSettings(),
    **LENGTHS,
  )
  return resolve(Story(scenes=scenes), defaults)


def _report(story, frames, judge=None):
  meter = DriftMeter(story, plan(story, **LENGTHS), judge)
  first = 0
  for number, scene in enumerate(story.scenes):
    own = frames[first : first + scene.frames]
    for start in range(0, len(own), 4):
      meter.add(number, start, own[start : start + 4])
    first += scene.frames
  return meter.report()


def _noise(count, seed=0, low=0, high=256):
  rng = np.random.default_rng(seed)
  return rng.integers(low, high, (count, *SIZE, 3)).astype(np.uint8)


def _walk(count, step=2):
  """Frames whose grey grows by the same amount."""
  grey = (np.arange(count) * step).astype(np.uint8)
  return np.broadcast_to(grey[:, None, None, None], (count, *SIZE, 3)).copy()


def test_joins_like_all_other_frames_score_one():
  story = _story(17, 12)
  report = _report(story, _walk(29))
  assert [frame for frame, _ in report.joins] == [9, 13, 17, 21, 25]
  np.testing.assert_allclose([score for _, score in report.joins], 1.0)


@pytest.mark.parametrize('join', [13, 17, 25])
def test_a_jump_shows_at_its_join(join):
  story = _story(17, 12)
  frames = _walk(29)
  frames[join:] += 40
  scores = dict(_report(story, frames).joins)
  # A change of 42 among changes of 2.
  assert scores.pop(join) == pytest.approx(21.0)
  # Near joins are compared with a window that holds the jump.
  assert max(scores.values()) < 1.0 + 1e-9
  found = _report(story, frames).to_json()['seams']
  assert found['joins'] == 5
  assert found['worst'][0] == {'frame': join, 'score': 21.0}
  # The second scene begins at frame 17.
  where = 'between' if join == 17 else 'within'
  means = {name: found[f'mean_{name}_scenes'] for name in ('within', 'between')}
  assert means.pop(where) > 5 and max(means.values()) <= 1


def test_cuts_are_no_joins():
  story = _story(9, 9, cuts=(1,))
  assert not _report(story, _walk(18)).joins
  assert _report(story, _walk(18)).to_json()['seams']['median'] is None


def test_colour_and_sharpness_of_the_ends_are_compared():
  story = _story(100)
  frames = _noise(100)
  frames[50:] = frames[50:] // 4 * 2
  report = _report(story, frames)
  ends = frames[:10].mean((0, 1, 2)) - frames[-10:].mean((0, 1, 2))
  assert report.colour_drift == pytest.approx(np.linalg.norm(ends) / 255)
  assert report.sharpness_ratio == pytest.approx(0.5, abs=0.03)


def test_sharpness_is_the_mean_laplacian():
  luma = np.zeros((5, 5))
  luma[2, 2] = 1.0
  assert sharpness(luma) == pytest.approx((4 + 4 * 1) / 9)
  assert sharpness(np.outer(np.arange(5.0), np.ones(5))) == 0


def test_repetition_is_a_return_to_what_was_seen():
  story = _story(96)
  calm = _noise(96)
  assert _report(story, calm).repetition == 0
  loop = np.concatenate([calm[:24]] * 4)
  assert _report(story, loop).repetition == pytest.approx(72 / 96)
  still = np.repeat(calm[:1], 96, axis=0)
  report = _report(story, still)
  assert report.repetition == 0
  assert report.still == pytest.approx(95 / 96)


def test_facts_are_read_at_the_end_of_each_window_from_its_scene():
  asked = []

  def judge(prompts, frames):
    asked.append((tuple(prompts), len(frames), int(frames[-1, 0, 0, 0])))
    return Verdict(right={'colour': len(asked) > 2, 'shape': True})

  report = _report(_story(17, 4), _walk(21), judge)
  scene, later = ('scene 0',), ('scene 0', 'scene 1')
  assert asked == [
    *((scene, 9, 16), (scene, 9, 24), (scene, 9, 32)),
    (later, 4, 40),
  ]
  assert report.facts['colour'] == (
    *((8, False), (12, False), (16, True)),
    (20, True),
  )
  found = report.to_json()['facts']
  assert found['by_fact'] == {'colour': 0.5, 'shape': 1.0}
  assert found['right'] == 0.75 and found['last_tenth'] == 1.0


def test_what_is_kept_does_not_grow_with_the_film(monkeypatch):
  monkeypatch.setattr(drift_lib, 'MAX_POINTS', 32)
  report = _report(_story(301), _walk(301, step=1))
  assert [point.frame for point in report.points] == list(range(0, 301, 10))
  assert len(report.joins) == 73


def test_figure_and_json_hold_the_report():
  def judge(prompts, frames):
    return Verdict(right={'colour': bool(frames[-1, 0, 0, 0] < 100)})

  report = _report(_story(80), _walk(80), judge)
  figure = draw_drift(report, 8.0)
  assert figure.dtype == np.uint8 and figure.shape[1:] == (960, 3)
  plain = draw_drift(_report(_story(80), _walk(80)), 8.0)
  assert len(figure) > len(plain)
  bar = figure[len(plain) + 30]
  green, red = ((bar == colour).all(-1).sum() for colour in (_GREEN, _RED))
  assert green > 0 and red > 0
  assert json.loads(json.dumps(report.to_json()))['frames'] == 80


_GREEN, _RED = (60, 150, 70), (200, 60, 60)
