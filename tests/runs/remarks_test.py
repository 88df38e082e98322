"""Remarks on unknown words, long prompts and other sizes."""

import dataclasses
import logging

import pytest

import phenaki_jax as phenaki
from phenaki_jax.errors import UserError
from phenaki_jax.runs.remarks import make_remarks
from phenaki_jax.stories.story import resolve
from phenaki_jax.stories.story_file import as_story
from phenaki_jax.text.words import Words

CAPTIONS = ['a red circle moves left', 'a blue square', 'it turns green']


@pytest.fixture(scope='module')
def model(tiny_bundle):
  words = Words.count(CAPTIONS)
  model = phenaki.load(tiny_bundle)
  text = dataclasses.replace(model.sampler.models.text, max_length=32)
  models = dataclasses.replace(model.sampler.models, text=text)
  sampler = dataclasses.replace(model.sampler, models=models)
  return dataclasses.replace(model, words=words, sampler=sampler)


def _remarks(model, *prompts, **changes):
  story = resolve(as_story(prompts), model.defaults)
  return model.remarks(dataclasses.replace(story, **changes))


def test_known_words_have_no_remark(model):
  assert _remarks(model, 'A red circle turns blue!', 'it moves left') == ()


def test_unknown_words_of_each_scene_are_named(model):
  first, second = _remarks(
    model, 'a red dragon moved left', 'a blue square', '赤 🎈'
  )
  assert first.scene == 1
  assert first.unknown == {'dragon': [], 'moved': ['moves']}
  assert first.sentence == (
    'scene 1: none of 3 training captions contains "dragon" or "moved" '
    '(known: "moves")'
  )
  assert second.scene == 3 and second.unknown == {'赤': [], '🎈': []}


def test_many_unknown_words_are_counted(model):
  prompt = ' '.join('abcdefghijk')
  (remark,) = _remarks(model, prompt)
  assert len(remark.unknown) == 10
  assert '"i" or 2 other words' in remark.sentence


def test_end_of_a_long_prompt_is_named(model):
  prompt = 'a red circle moves left ' * 4 + 'it turns green'
  (remark,) = _remarks(model, prompt)
  vocabulary = model.sampler.vocabulary
  ids = vocabulary.encode(prompt)
  assert remark.unread == vocabulary.decode(ids[31:])
  assert remark.unread.endswith('it turns green')
  assert f'reads 31 of the {len(ids)} pieces' in remark.sentence
  (longer,) = _remarks(model, 'a ' * 32)
  assert longer.unread == 'a'
  assert _remarks(model, 'a ' * 31) == ()


def test_another_size_is_named(model):
  (remark,) = _remarks(model, 'a red circle', size=(16, 48))
  assert remark.scene is None
  assert '16x48 pixels, but the model was trained on 16x16' in remark.sentence


def test_an_impossible_size_is_refused_before_any_remark(model):
  with pytest.raises(UserError, match='a width of 36 pixels is not'):
    _remarks(model, 'a red dragon', size=(16, 36))


def test_characters_are_known_where_words_are_not(model):
  story = resolve(as_story(['a lead bird 赤い']), model.defaults)
  (remark,) = make_remarks(
    story,
    defaults=model.defaults,
    vocabulary=model.sampler.vocabulary,
    length=32,
    words=None,
  )
  assert list(remark.unknown) == ['赤い']


def test_remarks_are_logged_and_recorded(model, caplog):
  caplog.set_level(logging.WARNING)
  film = model.story(['a red dragon'], frames=1)
  (recorded,) = film.provenance['remarks']
  assert recorded['unknown'] == {'dragon': []} and recorded['scene'] == 1
  assert recorded['sentence'] in caplog.messages
