"""Protocols of papers, shortened, on small models."""

import dataclasses
import pathlib

import numpy as np
import pytest

from phenaki_jax.data import build
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.sources import storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.runs import protocol as protocol_lib
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.protocol import Protocol, load_protocol, run_protocol
from phenaki_jax.runs.subject import Subject
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.story import ModelDefaults

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs/protocols'
FILES = sorted(CONFIGS.glob('*.py'))

SHORT = Protocol(
  name='short',
  source='none',
  task='prediction',
  size=(16, 16),
  measured_size=(8, 8),
  fps=8.0,
  frames=8,
  given=1,
  clips=2,
  samples=2,
)


class Means:
  """Mean colours of frames, and a record of what was measured."""

  of_clips = False
  seen: list = []

  def __call__(self, frames):
    self.seen.append(frames)
    return frames.astype(np.float32).mean((1, 2))

  def describe(self):
    return {'network': 'means', 'weights': '1'}


@pytest.fixture
def subject(tiny_sampler):
  data = DataConfig(size=(16, 16))
  model = Model(
    name='tiny',
    fingerprint='0',
    sampler=tiny_sampler,
    defaults=ModelDefaults(
      size=(16, 16),
      fps=8.0,
      context_frames=5,
      clip_frames=9,
      tubelet=2,
      settings=SamplingSettings(steps=2, guidance=0.0),
    ),
    data=data,
    subset='easy',
  )
  return Subject(
    name='tiny',
    fingerprint='0',
    tokenizer=tiny_sampler.models.tokenizer,
    params=tiny_sampler.tokenizer_params,
    data=data,
    model=model,
  )


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_shipped_protocols_are_valid(path):
  protocol = load_protocol(path)
  assert protocol.name == path.stem and 'Phenaki' in protocol.source
  assert load_protocol(path, clips=3).clips == 3


def test_shipped_protocols_are_those_of_the_paper():
  assert {path.stem for path in FILES} == {
    *('bair', 'kinetics400', 'kinetics600', 'moments_in_time', 'ucf101')
  }
  bair, kinetics = (
    load_protocol(CONFIGS / f'{name}.py') for name in ('bair', 'kinetics600')
  )
  assert (bair.given, bair.frames) == (1, 16)
  assert (kinetics.given, kinetics.frames) == (5, 16)


@pytest.mark.parametrize('task', ['prediction', 'text', 'reconstruction'])
def test_both_sides_are_measured_alike(subject, monkeypatch, task):
  monkeypatch.setattr(protocol_lib, 'open_features', lambda spec: Means())
  monkeypatch.setattr(Means, 'seen', [])
  given = 1 if task == 'prediction' else 0
  protocol = dataclasses.replace(SHORT, task=task, given=given)
  frechet, kernel = run_protocol(
    subject, protocol, features=['means'], manifest=''
  )
  assert frechet.name == 'fid@means' and kernel.name == 'kid@means'
  stamp = frechet.protocol
  assert stamp['samples'] == {'generated': 4, 'real': 2}
  assert stamp['protocol']['task'] == task and stamp['protocol']['fps'] == 8
  assert [frames.shape for frames in Means.seen] == [(8, 8, 8, 3)] * 6
  real, first, second = Means.seen[:3]
  if task == 'prediction':
    np.testing.assert_array_equal(first[0], real[0])
    np.testing.assert_array_equal(second[0], real[0])
  assert (first[1:] != real[1:]).any()
  is_random = task != 'reconstruction'
  assert (first != second).any() == is_random


def test_what_cannot_be_measured_is_refused(subject):
  with pytest.raises(UserError, match='given is 0 of 8'):
    dataclasses.replace(SHORT, given=0)
  with pytest.raises(UserError, match='is a tokenizer'):
    run_protocol(
      dataclasses.replace(subject, model=None),
      SHORT,
      features=[],
      manifest='',
    )
  long = dataclasses.replace(SHORT, frames=11)
  with pytest.raises(UserError, match='makes clips of 9 frames'):
    run_protocol(subject, long, features=[], manifest='')


def test_each_clip_of_a_manifest_is_measured_once(
  subject, monkeypatch, tmp_path
):
  monkeypatch.setattr(protocol_lib, 'open_features', lambda spec: Means())
  monkeypatch.setattr(Means, 'seen', [])
  reader = storyworld.StoryWorldReader(subset='easy')
  build.build(
    [lambda indices: storyworld.StoryWorld(reader, num_clips=6, num_images=0)],
    tmp_path / 'm',
  )
  protocol = dataclasses.replace(
    SHORT, task='reconstruction', given=0, clips=6, samples=1
  )
  options = {'features': ['means'], 'manifest': str(tmp_path / 'm')}
  run_protocol(subject, protocol, **options)
  assert len({frames.tobytes() for frames in Means.seen[::2]}) == 6
  more = dataclasses.replace(protocol, clips=7)
  with pytest.raises(UserError, match='has 6 clips, but short needs 7'):
    run_protocol(subject, more, **options)
