import dataclasses

import numpy as np
import pytest

from phenaki_jax.evaluation import clips
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.storyworld import (
  Facts,
  Scene,
  parse,
  render_clip,
  subset_named,
)

SUBSET = subset_named('easy')
SETUP = clips.Setup(
  world=StoryWorld(subset=SUBSET),
  size=(32, 32),
  fps=8.0,
  settings=SamplingSettings(),
  batch_size=4,
)


class Renderer:
  """Render what each prompt says, as a perfect model would."""

  clip_frames = 9

  def __init__(self):
    self.batches = []

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    self.batches.append(list(prompts))
    return np.stack(
      [
        self._clip(prompt, size, seed)
        for prompt, seed in zip(prompts, seeds, strict=True)
      ]
    )

  def _clip(self, prompt, size, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(8, size=2) / 8
    scene = Scene(facts=Facts(**parse(prompt)), x=float(x), y=float(y))
    return render_clip(scene, self.clip_frames, size)


class Shuffled(Renderer):
  """Render the clip of another prompt."""

  def clips(self, prompts, **options):
    return super().clips([*prompts[1:], prompts[0]], **options)


class ClipsOnly(Renderer):
  """Render only what training clips show, never image-only concepts."""

  def _clip(self, prompt, size, seed):
    facts = Facts(**parse(prompt))
    for fact, value in (
      ('colour', 'red'),
      ('shape', 'circle'),
      ('place', 'grass'),
      ('style', 'plain'),
    ):
      if getattr(facts, fact) in SUBSET.image_values(fact):
        facts = facts.replace(**{fact: value})
    return render_clip(Scene(facts=facts), self.clip_frames, size)


def test_perfect_model_has_perfect_scores():
  report = clips.report_clips(Renderer(), SETUP, prompts=12)
  assert set(report.facts) == {'shape', 'colour', 'motion', 'place'} | (
    set(report.facts) & {'style'}
  )
  assert report.facts.total.accuracy > 0.98
  assert report.facts.total.asked == 12 * len(report.facts)
  assert sum(report.mistakes.values()) == report.facts.total.asked - (
    report.facts.total.right
  )


def test_clips_of_other_prompts_have_low_scores():
  setup = dataclasses.replace(SETUP, batch_size=12)
  report = clips.report_clips(Shuffled(), setup, prompts=12, split='all')
  assert report.facts['motion'].accuracy < 0.6
  assert report.facts.total.accuracy < 0.7
  assert sum(report.mistakes.values()) == report.facts.total.asked - (
    report.facts.total.right
  )
  assert all(' read as ' in name for name in report.mistakes)


def test_noise_shows_no_facts():
  class Noise(Renderer):
    def _clip(self, prompt, size, seed):
      rng = np.random.default_rng(seed)
      return rng.integers(0, 256, (9, *size, 3)).astype(np.uint8)

  report = clips.report_clips(Noise(), SETUP, prompts=4)
  assert report.facts.total.accuracy < 0.3
  assert report.facts.total.unsure > 0


def test_prompts_are_held_out_and_depend_on_the_seed_alone():
  from phenaki_jax.storyworld import is_held_out

  makers = [Renderer(), Renderer()]
  for maker in makers:
    clips.report_clips(maker, SETUP, prompts=8)
  assert makers[0].batches == makers[1].batches
  for batch in makers[0].batches:
    for prompt in batch:
      assert is_held_out(Facts(**parse(prompt))), prompt
  other = Renderer()
  clips.report_clips(other, dataclasses.replace(SETUP, seed=1), prompts=8)
  assert other.batches != makers[0].batches


def test_batches_have_one_size_and_padding_does_not_count():
  maker = Renderer()
  done = []
  report = clips.report_clips(maker, SETUP, prompts=9, on_done=done.append)
  assert [len(batch) for batch in maker.batches] == [3, 3, 3]
  assert done == [3, 3, 3]
  maker = Renderer()
  report = clips.report_clips(maker, SETUP, prompts=7)
  assert [len(batch) for batch in maker.batches] == [4, 4]
  assert report.facts['shape'].asked == 7


def test_results_are_independent_of_the_batch_size():
  reports = [
    clips.report_clips(
      Renderer(), dataclasses.replace(SETUP, batch_size=size), prompts=6
    )
    for size in (2, 6)
  ]
  assert reports[0].facts == reports[1].facts


def test_best_and_worst_clips_are_kept():
  class Half(Renderer):
    """Render the prompt only for odd seeds."""

    def _clip(self, prompt, size, seed):
      if seed % 2:
        return super()._clip(prompt, size, seed)
      return np.zeros((9, *size, 3), np.uint8)

  report = clips.report_clips(Half(), SETUP, prompts=12, shown=2)
  assert (
    len(report.samples['best'])
    == len(report.samples['worst'])
    == len(report.samples['random'])
    == 2
  )
  assert min(s.score for s in report.samples['best']) > max(
    s.score for s in report.samples['worst']
  )
  assert all(s.frames.any() for s in report.samples['best'])
  assert '?' in report.samples['worst'][0].read


def test_image_only_concepts_in_clips_are_recognised():
  report = clips.report_image_only(Renderer(), SETUP, prompts=3)
  assert list(report.values) == [
    'shape star',
    'colour pink',
    'place snow',
    'style outline',
  ]
  assert all(counts.asked == 3 for counts in report.values.values())
  assert report.values.total.accuracy > 0.9
  assert report.others.accuracy > 0.9
  assert len(report.samples) == 4


def test_missing_image_only_concepts_are_noticed():
  report = clips.report_image_only(ClipsOnly(), SETUP, prompts=3)
  assert report.values.total.accuracy < 0.1
  assert report.others.accuracy > 0.9


def test_subset_without_image_only_concepts_raises():
  subset = dataclasses.replace(SUBSET, image_only={})
  setup = dataclasses.replace(SETUP, world=StoryWorld(subset=subset))
  with pytest.raises(ValueError, match='no image-only concepts'):
    clips.report_image_only(Renderer(), setup, prompts=1)


def test_confidence_breaks_ties_among_samples():
  report = clips.report_clips(Renderer(), SETUP, prompts=6, shown=6)
  scores = [sample.score for sample in report.samples['best']]
  assert scores == sorted(scores, reverse=True)
