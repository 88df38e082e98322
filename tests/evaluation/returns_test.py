"""Whoever was out of sight is known by a history alone."""

import pytest

from phenaki_jax.evaluation import report as report_lib
from phenaki_jax.evaluation.clips import Setup
from phenaki_jax.evaluation.report import Report
from phenaki_jax.evaluation.returns import report_returns
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.storyworld import Facts, Scene, render_clip, subset_named
from phenaki_jax.storyworld import parse as parse_facts

SUBSET = subset_named('easy')
SETUP = Setup(
  world=StoryWorld(subset=SUBSET),
  size=(32, 32),
  fps=8.0,
  settings=SamplingSettings(),
  batch_size=2,
)
COUNTS = {'returns': 4, 'frames_per_scene': 4, 'context_frames': 5}


@pytest.fixture
def remembering(oracle_model):
  """Return a model that takes what is back from the captions of its slots."""

  class Remembering(oracle_model):
    history_slots = 4

    def clips(self, prompts, *, history, size, **options):
      clips = super().clips(prompts, size=size, **options)
      for row, prompt in enumerate(prompts):
        if 'is back' not in prompt:
          continue
        named = parse_facts(prompt)
        known = set(named.items())
        for caption in history.captions[row]:
          facts = parse_facts(caption)
          if known & {(k, facts.get(k)) for k in ('shape', 'colour')}:
            scene = Scene(facts=Facts(**{**facts, **named}))
            clips[row] = render_clip(scene, self.clip_frames, size)
      return clips

  return Remembering()


def test_the_last_frames_alone_tell_nothing(oracle_model, remembering):
  done = []
  report = report_returns(
    oracle_model(), SETUP, **COUNTS, shown=2, on_done=done.append
  )
  assert done == [2, 2]
  assert report.facts.total.asked == report.shown.total.asked == 4
  # It draws what was there last, which differs in shape and colour.
  assert report.facts.total.accuracy == 0
  assert report.shown.total.accuracy > 0.95
  prompts, scenes = report.stories[1]
  assert len(report.stories) == 2
  assert [len(frames) for frames in scenes] == [4] * 5
  assert 'is back' in prompts[-1]
  report = report_returns(remembering, SETUP, **COUNTS)
  assert report.facts.total.accuracy > 0.95
  assert {'shape', 'colour'} == set(report.facts)


def test_a_return_is_a_part_of_the_report(oracle_model):
  made = report_returns(oracle_model(), SETUP, **{**COUNTS, 'returns': 1})
  report = Report(protocol={'returns': 1, 'model': 'm'}, returns=made)
  assert report_lib.to_json(report)['returns']['total']['accuracy'] == 0
  text = report_lib.to_markdown(report)
  assert '## Out of sight for three scenes (1 stories)' in text
  assert '| fact when it is back | right |' in text
  ((name, sheet),) = report_lib.sheets(report)
  assert name == 'returns' and sheet.ndim == 3
