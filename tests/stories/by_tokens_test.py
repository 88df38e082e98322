"""Stories that carry on tokens are one sequence, decoded as it comes."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling import token_windows
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories import by_tokens
from phenaki_jax.stories.generate import generate, generate_batch
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve

SIZE = (16, 16)
DEFAULTS = ModelDefaults(
  size=SIZE,
  fps=8.0,
  context_frames=5,
  clip_frames=9,
  tubelet=2,
  settings=SamplingSettings(steps=1, guidance=0.0),
)


@pytest.fixture(scope='module')
def sampler(tiny_sampler):
  """Return a sampler whose decoder remembers two latent frames."""
  tokenizer = dataclasses.replace(
    tiny_sampler.models.tokenizer, temporal_window=3
  )
  models = dataclasses.replace(tiny_sampler.models, tokenizer=tokenizer)
  return dataclasses.replace(tiny_sampler, models=models)


def _story(*scenes, **values):
  scenes = tuple(Scene(**{'prompt': 'a', **scene}) for scene in scenes)
  story = Story(scenes=scenes, context='tokens', **values)
  return resolve(story, DEFAULTS)


@pytest.fixture
def windows(monkeypatch):
  """Record the tokens of windows, and what they see."""
  made = []

  def sample(*args, context, **options):
    ids = token_windows.sample_window(*args, context=context, **options)
    made.append((0 if context is None else context.shape[1], ids))
    return ids

  monkeypatch.setattr(by_tokens, 'sample_window', sample)
  return made


def _film(chunks):
  return np.concatenate([chunk.frames for chunk in chunks], axis=-4)


def _whole(sampler, sequence):
  """Decode a sequence at once, with padding that changes nothing before it."""
  missing = 13 - sequence.shape[1]
  padding = [(0, 0), (0, missing), (0, 0), (0, 0)]
  frames = sampler.decode(np.pad(sequence, padding))[0]
  return frames[: sampler.frames_of(sequence.shape[1])].astype(int)


def _assert_same(film, whole):
  assert film.shape == whole.shape
  # Sums in another order may round a value the other way.
  apart = np.abs(film.astype(int) - whole)
  assert apart.max() <= 1 and (apart == 0).mean() > 0.999


def test_a_story_is_its_whole_sequence_of_tokens(sampler, windows):
  story = _story({'frames': 9}, {'frames': 12}, {'prompt': 'b', 'frames': 4})
  chunks = list(generate(sampler, story))
  assert [(c.scene, c.start, len(c.frames)) for c in chunks] == [
    *((0, 0, 9), (1, 0, 4), (1, 4, 4), (1, 8, 4)),
    (2, 0, 4),
  ]
  # Every window but the first sees three latent frames, and adds two.
  assert [seen for seen, _ in windows] == [0, 3, 3, 3, 3]
  sequence = windows[0][1]
  for seen, ids in windows[1:]:
    np.testing.assert_array_equal(ids[:, :seen], sequence[:, -seen:])
    sequence = np.concatenate([sequence, ids[:, seen:]], 1)
  assert sequence.shape[1] == 13
  _assert_same(_film(chunks), _whole(sampler, sequence))
  # A batch has a dimension more.
  (of_batch,) = _film(generate_batch(sampler, [story]))
  np.testing.assert_array_equal(of_batch, _film(chunks))


def test_a_cut_starts_another_sequence(sampler, windows):
  scenes = {'frames': 9}, {'frames': 9, 'cut': True}
  film = _film(generate(sampler, _story(*scenes)))
  assert [seen for seen, _ in windows] == [0, 0]
  for part, (_, ids) in zip((film[:9], film[9:]), windows, strict=True):
    _assert_same(part, _whole(sampler, ids))


def test_a_start_is_encoded_once_and_is_no_part_of_the_film(sampler, windows):
  frames = np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), np.uint8)
  story = _story({'frames': 8, 'start': 'clip.npy'})
  film = _film(generate(sampler, story, starts={0: frames}))
  assert [seen for seen, _ in windows] == [3, 3]
  start = sampler.encode(frames[None, -5:])
  sequence = np.concatenate([start, *(ids[:, 3:] for _, ids in windows)], 1)
  _assert_same(film, _whole(sampler, sequence)[5:])


def test_what_is_held_does_not_grow(sampler, monkeypatch):
  sizes = []

  def stream(own, tokens, *, longest):
    def watched():
      for part in tokens:
        held = tokens.gi_frame.f_locals['tail']
        sizes.append((part.shape[1], held.shape[1], held.base is None))
        yield part

    return token_windows.decode_stream(own, watched(), longest=longest)

  monkeypatch.setattr(by_tokens, 'decode_stream', stream)
  list(generate(sampler, _story({'frames': 9}, {'frames': 40})))
  # Not views of all that came before.
  assert sizes == [(5, 5, True)] + [(2, 5, True)] * 10


def test_scenes_end_with_latent_frames():
  story = _story({'seconds': 1.1}, {'seconds': 1.1}, {})
  assert [scene.frames for scene in story.scenes] == [9, 8, 8]
  with pytest.raises(UserError, match=r'scene 1 has 8 frames.*1 \+ k \* 2'):
    _story({'frames': 8})
  with pytest.raises(UserError, match=r'scene 2 has 9 frames.*0 \+ k \* 2'):
    _story({'frames': 9}, {'frames': 9})


def test_other_models_and_candidates_are_refused(sampler):
  with pytest.raises(UserError, match='without captions cannot carry on'):
    list(by_tokens.generate_by_tokens(None, [_story({})], [], {}))
  ports = PortsConfig(memory=('history',), memory_every=1)
  generator = dataclasses.replace(sampler.models.generator, ports=ports)
  models = dataclasses.replace(sampler.models, generator=generator)
  remembering = dataclasses.replace(sampler, models=models)
  with pytest.raises(UserError, match='reads first frames of earlier scenes'):
    list(generate(remembering, _story({})))
  with pytest.raises(UserError, match='a scene with candidates'):
    list(generate(sampler, _story({'candidates': 2})))
