import numpy as np

from phenaki_jax.evaluation import storyworld_stories
from phenaki_jax.evaluation.storyworld import Setup
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.storyworld import (
  Facts,
  Scene,
  parse,
  render_clip,
  subset_named,
)
from phenaki_jax.storyworld.oracle import read_clip

SUBSET = subset_named('easy')
SETUP = Setup(
  subset=SUBSET,
  size=(32, 32),
  fps=8.0,
  settings=SamplingSettings(),
  batch_size=3,
)
COUNTS = {'stories': 5, 'scenes': 4, 'frames_per_scene': 8, 'context_frames': 5}
SPEED = {'left': (-1, 0), 'right': (1, 0), 'up': (0, -1), 'down': (0, 1)}


class OracleModel:
  """Read the context, change the facts the prompt names and render more."""

  clip_frames = 9

  def __init__(self, *, forgets=None, jumps=False):
    self._forgets = forgets
    self._jumps = jumps

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    contexts = [None] * len(prompts) if context is None else context
    return np.stack(
      [
        self._clip(prompt, size, seen)
        for prompt, seen in zip(prompts, contexts, strict=True)
      ]
    )

  def _clip(self, prompt, size, seen):
    named = parse(prompt)
    if seen is None:
      return render_clip(Scene(facts=Facts(**named)), self.clip_frames, size)
    before = read_clip(seen, subset=SUBSET)
    values = {k: v for k, v in before.values.items() if v is not None}
    values |= self._forgets or {}
    values |= named
    facts = Facts(**values)
    step_x, step_y = SPEED.get(facts.motion, (0, 0))
    x = before.x[-1] + step_x / 16 + (0.4 if self._jumps else 0)
    y = before.y[-1] + step_y / 16
    scene = Scene(facts=facts, x=float(x % 1), y=float(y % 1))
    new = render_clip(scene, self.clip_frames - len(seen), size)
    return np.concatenate([seen, new])


def test_perfect_model_has_perfect_scores():
  done = []
  report = storyworld_stories.report_stories(
    OracleModel(), SETUP, **COUNTS, on_done=done.append
  )
  assert done == [3, 2]
  assert report.facts.total.accuracy > 0.95
  assert report.consistency['persistence'] > 0.95
  assert report.consistency['last_persistence'] > 0.95
  assert report.consistency['continuity'] > 0.9
  assert len(report.scenes) == 4
  assert report.scenes[0].asked == report.facts.total.asked / 4
  prompts, scenes = report.stories[0]
  assert [len(frames) for frames in scenes] == [8] * 4
  assert len(prompts) == 4 and 'it' in prompts[1].split()


def test_forgetting_lowers_persistence_but_not_the_first_scene():
  report = storyworld_stories.report_stories(
    OracleModel(forgets={'shape': 'square', 'place': 'sand'}), SETUP, **COUNTS
  )
  assert report.scenes[0].accuracy > 0.95
  assert report.consistency['persistence'] < 0.85
  assert report.facts['shape'].accuracy < report.facts['colour'].accuracy


def test_jumps_lower_smoothness_and_continuity_alone():
  report = storyworld_stories.report_stories(
    OracleModel(jumps=True), SETUP, **COUNTS
  )
  assert report.consistency['continuity'] < 0.3
  assert report.consistency['smoothness'] < 0.3
  assert report.facts['colour'].accuracy > 0.9


def test_held_out_combinations_are_counted_separately(monkeypatch):
  monkeypatch.setattr(
    storyworld_stories, 'is_held_out', lambda facts: facts.shape == 'circle'
  )
  report = storyworld_stories.report_stories(
    OracleModel(forgets={'shape': 'square'}), SETUP, **COUNTS
  )
  train, heldout = report.splits['train'], report.splits['heldout']
  assert train.asked + heldout.asked == report.facts.total.asked
  assert heldout.accuracy < train.accuracy
