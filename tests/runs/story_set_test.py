"""Stories of a set are generated, and compared with their pictures."""

import dataclasses

import h5py
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.exchange import ExchangeWriter
from phenaki_jax.data.story_sets.story import Account, Story
from phenaki_jax.data.transforms import fit
from phenaki_jax.errors import UserError
from phenaki_jax.reader.characters import CharacterReader
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.runs import evaluate, story_set
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.request import Request
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.stories.story import ModelDefaults

NAMES = ('a red one', 'a dark one')


class Means:
  """Mean colours of frames, and what was measured."""

  of_clips = False

  def __init__(self):
    self.seen = []

  def __call__(self, frames):
    self.seen.append(frames)
    return frames.astype(np.float32).mean((1, 2))

  def describe(self):
    return {'network': 'means', 'weights': '1'}


class Colours(CharacterReader):
  """Finds characters by the mean colours of frames."""

  def read(self, frames):
    means = frames.astype(float).mean((1, 2))
    return np.stack([means[:, 0] > means[:, 2], means.mean(-1) < 128], -1)


class Painter:
  """Makes grey clips whose brightness is the length of the prompt."""

  clip_frames = 9
  sources = ()

  def frames_of(self, num_latent):
    return 2 * num_latent - 1

  def clips(self, prompts, *, size, seeds, settings, context=None):
    clips = np.zeros((len(prompts), 9, *size, 3), np.uint8)
    for clip, prompt in zip(clips, prompts, strict=True):
      clip[...] = 10 * len(prompt)
    return clips


def write(path, *, scenes=5, labels=True):
  rng = np.random.default_rng(0)
  with ExchangeWriter(path, name='shapes', characters=NAMES) as file:
    for split, count in {'train': 1, 'test': 3}.items():
      for number in range(count):
        frames = rng.integers(0, 256, (scenes, 1, 80, 80, 3), np.uint8)
        story = Story(
          id=f'{split}{number}',
          split=split,
          captions=tuple('xy' * (1 + i + number) for i in range(scenes)),
          labels=((0, 1),) * scenes if labels else None,
          load=tuple,
        )
        file.write(story, tuple(frames))
  return str(path)


@pytest.fixture
def stories(tmp_path):
  return write(tmp_path / 'set.h5')


@pytest.fixture
def continuing(tiny_sampler):
  """Return a painter that reads a source frame, and the list of these."""
  ports = dataclasses.replace(
    tiny_sampler.models.generator.ports, memory=('source',), memory_every=1
  )
  sources = []

  class Continuing(Painter):
    models = dataclasses.replace(
      tiny_sampler.models,
      generator=dataclasses.replace(tiny_sampler.models.generator, ports=ports),
    )

    def with_source(self, frame):
      sources.append(frame)
      return self

  return Continuing(), sources


def model(sampler):
  return Model(
    name='tiny',
    fingerprint='0',
    sampler=sampler,
    defaults=ModelDefaults(
      size=(16, 16),
      fps=8.0,
      context_frames=5,
      clip_frames=9,
      tubelet=2,
      settings=SamplingSettings(steps=2, guidance=0.0),
    ),
    data=DataConfig(size=(16, 16)),
    subset='',
  )


def request(path, **values):
  given = {'stories': 3, 'features': ('means',), 'reader': 'run'}
  return Request(story_set=path, **{**given, **values})


@pytest.fixture
def features(monkeypatch):
  features = Means()
  monkeypatch.setattr(story_set, 'open_features', lambda spec: features)
  reader = Colours(config=ReaderConfig(), names=NAMES, params=None)
  monkeypatch.setattr(story_set, 'open_reader', lambda path: reader)
  return features


def test_a_frame_of_each_scene_is_compared_with_its_picture(stories, features):
  report = story_set.report_story_set(
    model(Painter()), request(stories, batch_size=2)
  )
  measures = {one.name: one for one in report.measures}
  assert list(measures) == [
    *('story_fid_64px@means', 'character_f1_micro', 'character_f1_macro'),
    'frame_accuracy',
  ]
  protocol = measures['story_fid_64px@means'].protocol
  assert protocol['task'] == 'visualisation' and protocol['split'] == 'test'
  assert protocol['vectors'] == {'generated': 15, 'real': 15}
  assert protocol['settings']['steps'] == 2
  generated, real = features.seen[::2], features.seen[1::2]
  assert [f.shape for f in generated + real] == [(5, 64, 64, 3)] * 6
  # The frames are those of the captions of the test stories, in order.
  for number, frames in enumerate(generated):
    assert [int(f.mean()) for f in frames] == [
      20 * (1 + i + number) for i in range(5)
    ]
  assert all(100 < frames.mean() < 155 for frames in real)
  # Grey frames show no red one; all of at most 120 are dark: 13 of 15.
  dark = sum(20 * (1 + i + n) < 128 for i in range(5) for n in range(3))
  assert measures['frame_accuracy'].value == pytest.approx(dark / 15)
  assert measures['character_f1_micro'].value == pytest.approx(
    2 * dark / (dark + 15)
  )


def test_a_model_of_source_frames_continues_the_first_picture(
  stories, features, continuing
):
  maker, sources = continuing
  report = story_set.report_story_set(model(maker), request(stories))
  protocol = report.measures[0].protocol
  assert protocol['task'] == 'continuation'
  assert protocol['vectors'] == {'generated': 12, 'real': 12}
  assert [frame.shape for frame in sources] == [(16, 16, 3)] * 3
  assert all(len(frames) == 4 for frames in features.seen)
  asked = request(stories, task='visualisation')
  report = story_set.report_story_set(model(maker), asked)
  assert report.measures[0].protocol['vectors'] == {'generated': 15, 'real': 15}
  assert len(sources) == 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorder(Sampler):
  """Keeps what its clips were made of."""

  seen: list = dataclasses.field(default_factory=list)

  def clips(self, prompts, **given):
    self.seen.append((tuple(prompts), given['context'], given['history']))
    return super().clips(prompts, **given)


def test_a_history_begins_with_the_picture_that_is_given(
  stories, features, history_sampler
):
  maker = Recorder(**vars(history_sampler))
  asked = request(stories, task='continuation')
  report = story_set.report_story_set(model(maker), asked)
  assert report.measures[0].protocol['task'] == 'continuation'
  # Nothing is made of the first captions.
  prompts = [tuple('xy' * (1 + i + n) for n in range(3)) for i in range(5)]
  assert [one for one, _, _ in maker.seen] == prompts[1:]
  file = sets.open_set('hdf5', stories)
  told = [one for one in file.stories(Account()) if one.split == 'test']
  shown = [fit(Image.fromarray(one.load(0)[0]), (16, 16)) for one in told]
  _, context, _ = maker.seen[0]
  np.testing.assert_array_equal(context, np.stack([shown] * 5, 1))
  for _, _, history in maker.seen[:3]:  # There are three slots.
    np.testing.assert_array_equal(history.frames[:, 0], shown)
    assert [given[0] for given in history.captions] == list(prompts[0])
  # They are not measured either.
  assert [len(frames) for frames in features.seen] == [4] * 6


@pytest.mark.parametrize(
  ('values', 'words'),
  [
    ({'stories': 4}, 'has 3 stories of test; set --stories to at most 3'),
    ({'stories': 1}, 'compares at least 2'),
  ],
)
def test_too_few_stories_are_refused(stories, features, values, words):
  with pytest.raises(UserError, match=words):
    story_set.report_story_set(model(Painter()), request(stories, **values))


def test_other_kinds_are_refused(stories, features, monkeypatch):
  with pytest.raises(UserError, match='--model is a tokenizer'):
    story_set.report_story_set(None, request(stories))
  other = Colours(config=ReaderConfig(), names=('someone',), params=None)
  monkeypatch.setattr(story_set, 'open_reader', lambda path: other)
  with pytest.raises(UserError, match='but the reader knows someone'):
    story_set.report_story_set(model(Painter()), request(stories))
  features.of_clips = True
  with pytest.raises(UserError, match='a network of clips'):
    story_set.report_story_set(model(Painter()), request(stories))


def test_sets_without_what_is_measured_are_refused(
  tmp_path, features, continuing
):
  one = write(tmp_path / 'one.h5', scenes=1)
  with pytest.raises(UserError, match='has stories of one scene'):
    story_set.report_story_set(model(continuing[0]), request(one))
  plain = write(tmp_path / 'plain.h5', labels=False)
  with pytest.raises(UserError, match='no labels of characters in test'):
    story_set.report_story_set(model(Painter()), request(plain))


def test_stories_that_are_left_out_are_counted(stories, features, caplog):
  with h5py.File(stories, 'r+') as file:
    name = next(one for one in ('captions', 'text') if one in file['test'])
    row = file['test'][name][0]
    file['test'][name][0] = b'' if np.ndim(row) == 0 else [b''] * len(row)
  asked = request(stories, stories=2)
  report = story_set.report_story_set(model(Painter()), asked)
  assert sum(report.measures[0].protocol['left_out'].values()) == 1
  assert 'stories of test are left out' in caplog.text


def test_super_resolution_tells_no_stories(tmp_path, monkeypatch):
  monkeypatch.setattr(evaluate, 'is_enlarger', lambda path: True)
  with pytest.raises(UserError, match='but run enlarges clips'):
    evaluate.evaluate_to(
      request('x.h5'), evaluate.Places(model='run'), tmp_path
    )
