"""Held-out clips are the same each time, whole scenes, and can be others."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.data import build
from phenaki_jax.data.config import DataConfig, SourceConfig
from phenaki_jax.data.sources import storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.runs import evaluate, worlds
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.request import Request
from phenaki_jax.runs.subject import Subject
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.story import ModelDefaults


@pytest.fixture(scope='module')
def subject(tiny_sampler):
  settings = SamplingSettings(steps=2)
  # Packed rows are a matter of training: they must not change these batches.
  data = DataConfig(size=(16, 16), heldout_share=0.5, row_multiple=8)
  return Subject(
    name='tiny',
    fingerprint='0',
    tokenizer=tiny_sampler.models.tokenizer,
    params=tiny_sampler.tokenizer_params,
    data=data,
    model=Model(
      name='tiny',
      fingerprint='0',
      sampler=tiny_sampler,
      defaults=ModelDefaults(
        size=(16, 16),
        fps=8.0,
        context_frames=5,
        clip_frames=9,
        tubelet=2,
        settings=settings,
      ),
      data=data,
      subset='easy',
    ),
  )


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
  """Build a manifest of a few clips."""
  out = tmp_path_factory.mktemp('data') / 'manifest'
  reader = storyworld.StoryWorldReader(subset='easy')
  build.build(
    [lambda indices: storyworld.StoryWorld(reader, num_clips=24, num_images=0)],
    out,
  )
  return str(out)


def test_heldout_clips_are_counted_and_repeat(subject):
  def read():
    return list(subject.heldout_clips(5, manifest='', batch_size=2))

  batches = read()
  assert [len(batch['pixels']) for batch in batches] == [2, 2, 1]
  assert batches[0]['pixels'].shape == (2, 9, 16, 16, 3)
  for one, other in zip(batches, read(), strict=True):
    np.testing.assert_array_equal(one['pixels'], other['pixels'])
    assert not one['context_frames'].any()


def test_another_manifest_is_held_out_if_nothing_else_was(subject, manifest):
  data = dataclasses.replace(subject.data, heldout_share=0.0)
  other = dataclasses.replace(subject, data=data)
  (batch,) = other.heldout_clips(4, manifest=manifest, batch_size=4)
  assert batch['pixels'].shape == (4, 9, 16, 16, 3)


def test_reconstructions_are_those_of_the_sampler(subject):
  (batch,) = subject.heldout_clips(2, manifest='', batch_size=2)
  sampler = subject.model.sampler
  expected = sampler.decode(sampler.encode(batch['pixels']))
  found = subject.reconstruct(batch['pixels'])
  # Another compiled program may round a level differently.
  assert np.abs(found.astype(int) - expected).max() <= 1


def test_tokenizer_is_measured_by_its_reconstructions_alone(subject):
  alone = dataclasses.replace(subject, model=None)
  report = evaluate.evaluate(alone, Request(reconstructions=2))
  assert report.fidelity.clips == 2 and report.fidelity.facts
  assert not report.clips and not report.changes
  assert report.protocol['world'] == 'StoryWorld'
  assert 'prompts' not in report.protocol


def test_words_of_a_tokenizer_are_those_of_its_captions(subject, manifest):
  source = SourceConfig(layout='manifest', path=manifest)
  data = dataclasses.replace(subject.data, sources=(source,), image_share=0.0)
  alone = dataclasses.replace(subject, data=data, model=None)
  assert {'a', 'on'} <= alone.words.counts.keys()
  assert worlds.name_world(alone.subset, alone.words) is None


def test_missing_data_leaves_reconstructions_out_with_a_warning(
  subject, manifest, tmp_path, caplog
):
  source = SourceConfig(layout='manifest', path=str(tmp_path / 'moved'))
  data = dataclasses.replace(subject.data, sources=(source,))
  moved = dataclasses.replace(subject, data=data)
  asked = Request(prompts=2, stories=0, changes=0, subset='easy')
  report = evaluate.evaluate(moved, asked)
  assert report.fidelity is None and report.clips
  assert 'Reconstructions are left out' in caplog.text
  # What is asked for is not left out, and a manifest replaces the data.
  asked = dataclasses.replace(asked, reconstructions=2)
  with pytest.raises(UserError, match='is not a manifest'):
    evaluate.evaluate(moved, asked)
  asked = dataclasses.replace(asked, prompts=0, manifest=manifest)
  assert evaluate.evaluate(moved, asked).fidelity.clips == 2


def test_model_of_other_captions_has_to_name_a_world(subject):
  data = dataclasses.replace(
    subject.data, sources=(SourceConfig(layout='manifest', path='x'),)
  )
  other = dataclasses.replace(subject, data=data)
  with pytest.raises(UserError, match='--world storyworld or lpc'):
    evaluate.evaluate(other, Request(reconstructions=0))
