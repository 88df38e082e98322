import dataclasses
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

import phenaki_jax as phenaki
from phenaki_jax.cli.main import main
from phenaki_jax.errors import UserError
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.story import resolve
from phenaki_jax.stories.story_file import as_story

PROMPTS = ['a red circle moves left', 'it turns green']


@pytest.fixture(scope='module')
def model(tiny_bundle):
  return phenaki.load(tiny_bundle)


def test_film_equals_the_film_of_the_command(model, tiny_bundle, tmp_path):
  film = model.story(PROMPTS, seed=5, frames=11, guidance=1.5)
  assert film.frames.shape == (22, 16, 16, 3) and film.fps == 8
  assert film.scenes == ((PROMPTS[0], 11), (PROMPTS[1], 11))
  out = tmp_path / 'film.mp4'
  prompts = [part for text in PROMPTS for part in ('--prompt', text)]
  argv = ['story', *prompts, '--model', tiny_bundle, '--out', out]
  options = ['--seed', '5', '--frames', '11', '--guidance', '1.5']
  assert main([*map(str, argv), *options]) == 0
  record = json.loads(out.with_suffix('.json').read_text())
  digest = hashlib.sha256(film.frames.tobytes()).hexdigest()
  assert record.pop('frames_sha256') == digest
  assert record.pop('notice') == 'AI-generated'
  assert film.provenance == record


def test_prompts_a_file_and_a_story_give_the_same_film(model, tmp_path):
  path = tmp_path / 'story.json'
  scenes = [{'prompt': prompt, 'frames': 4} for prompt in PROMPTS]
  path.write_text(json.dumps({'seed': 3, 'scenes': scenes}))
  story = phenaki.Story(
    scenes=tuple(phenaki.Scene(**scene) for scene in scenes), seed=3
  )
  films = [
    model.story(path),
    model.story(story),
    model.story(PROMPTS, seed=3, frames=4),
  ]
  for film in films[1:]:
    np.testing.assert_array_equal(film.frames, films[0].frames)
  other = model.story(story, seed=4)
  assert (other.frames != films[0].frames).any()


def test_pictures_of_a_character_reach_all_clips_of_a_story(
  ported_bundle, tmp_path, monkeypatch
):
  plain = phenaki.load(ported_bundle)
  story = resolve(as_story(PROMPTS), plain.defaults)
  frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  paths = [tmp_path / f'{number}.png' for number in range(2)]
  for frame, path in zip(frames, paths, strict=True):
    Image.fromarray(frame).save(path)
  model = plain.with_character(paths, story)
  seen, told = [], type(model.sampler).told

  def see(self, *given):
    seen.append(told(self, *given).memory['character'])
    return told(self, *given)

  monkeypatch.setattr(type(model.sampler), 'told', see)
  film = model.story(PROMPTS, frames=8)
  assert len(seen) == 3, 'the second scene has two windows'
  tokens = model.sampler.image(frames).reshape(1, 2, -1)
  for entries in seen:
    np.testing.assert_array_equal(entries.values, tokens)
    assert entries.slots.tolist() == [[0, 1]] and entries.visible.all()
  digests = [hashlib.sha256(frame.tobytes()).hexdigest() for frame in frames]
  assert film.provenance['model']['character'] == digests
  with pytest.raises(
    UserError, match='are 0 pictures of a char.*; give 1 to 8'
  ):
    model.with_character([], story)
  np.save(tmp_path / 'wide.npy', np.zeros((1, 8, 16, 3), np.uint8))
  with pytest.raises(UserError, match='has frames of 8x16, but .* have 16x16'):
    model.with_character([tmp_path / 'wide.npy'], story)


def test_film_is_saved(model, tmp_path):
  film = model.story(PROMPTS[:1], frames=3)
  for name in ('film.mp4', 'film.gif', 'film.png'):
    film.save(tmp_path / name)
    assert (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
  ('story', 'options', 'words'),
  [
    (['x', ''], {}, 'prompt is empty'),
    ([], {}, '1 to 1000 scenes'),
    (['x'], {'steps': 0}, 'steps must be a whole number'),
    ('none.yaml', {}, 'there is no story file none.yaml'),
  ],
)
def test_bad_story_is_refused_in_a_sentence(model, story, options, words):
  with pytest.raises(UserError, match=words):
    model.story(story, **options)


def test_tokens_of_a_clip_and_of_a_batch(model):
  clips = np.random.default_rng(0).integers(0, 256, (3, 9, 16, 16, 3), np.uint8)
  tokens = model.encode(clips)
  assert tokens.shape == (3, 5, 2, 2) and tokens.dtype == np.int32
  assert (tokens == model.sampler.encode(clips)).all()
  np.testing.assert_array_equal(model.encode(clips[0]), tokens[0])
  frames = model.decode(tokens)
  assert frames.shape == clips.shape and frames.dtype == np.uint8
  np.testing.assert_array_equal(model.decode(tokens[0]), frames[0])


def test_last_frame_is_repeated_to_fill_a_latent_frame(model):
  clip = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
  filled = np.concatenate([clip, clip[-1:]])
  np.testing.assert_array_equal(model.encode(clip), model.encode(filled))


@pytest.mark.parametrize(
  ('shape', 'dtype', 'words'),
  [
    ((9, 16, 16, 3), np.uint16, 'must be uint8'),
    ((9, 16, 16, 4), np.uint8, 'must be uint8 RGB'),
    ((9, 12, 16, 3), np.uint8, 'height of 12 pixels'),
    ((0, 16, 16, 3), np.uint8, r'shape \[0, 16, 16, 3\]'),
  ],
)
def test_frames_that_do_not_fit_are_refused(model, shape, dtype, words):
  with pytest.raises(UserError, match=words):
    model.encode(np.zeros(shape, dtype))


@pytest.mark.parametrize(
  ('shape', 'value', 'words'),
  [
    ((5, 2, 2), 16, 'from 0 to 15'),
    ((5, 2, 2), -1, 'from 0 to 15'),
    ((5, 2, 2), 1.0, 'tokens are float64'),
    ((2, 2), 0, r'shape \[2, 2\]'),
  ],
)
def test_tokens_that_do_not_fit_are_refused(model, shape, value, words):
  with pytest.raises(UserError, match=words):
    model.decode(np.full(shape, value))


def test_package_imports_its_names_on_first_use():
  assert set(phenaki.__all__) <= set(dir(phenaki))
  for name in phenaki.__all__:
    assert getattr(phenaki, name).__name__ == name
  with pytest.raises(AttributeError, match="no attribute 'lode'"):
    _ = phenaki.lode


def test_prompts_that_uncaptioned_clips_cannot_follow_are_named(model):
  sampler = StillFirst(sampler=model.sampler)
  other = dataclasses.replace(model, sampler=sampler, words=None)
  prompts = ['a red circle', 'a blue square', 'a red circle']
  scenes = [phenaki.Scene(prompt=p, cut=p == 'a blue square') for p in prompts]
  story = phenaki.Story(scenes=tuple(scenes), size=model.defaults.size)
  before = len(dataclasses.replace(model, words=None).remarks(story))
  *_, found = other.remarks(story)
  assert len(other.remarks(story)) == before + 1
  assert found.scene == 3 and 'set cut: true' in found.sentence
