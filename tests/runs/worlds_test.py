"""The captions of a model name its world, and each world opens."""

import dataclasses
import pathlib

import numpy as np
import pytest
import yaml

from phenaki_jax import lpc
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.sprites import SpriteWorld
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.export.bundle import find_model
from phenaki_jax.runs import worlds
from phenaki_jax.text.words import Words


def _captions(kinds):
  facts = lpc.Facts(
    kind='man',
    hair='red',
    hair_style='long',
    outfit='white',
    pants='red',
    action='walk',
    direction='down',
    place='grass',
  )
  bare = dict.fromkeys(('hair', 'hair_style'))
  for kind in kinds:
    hidden = bare if kind == 'skeleton' else {}
    yield lpc.prompt(facts.replace(kind=kind, **hidden))


def test_world_is_that_of_the_captions():
  sprites = Words.count(_captions(lpc.facts.KINDS))
  assert worlds.name_world('', sprites) == 'lpc'
  assert worlds.name_world('easy', sprites) == 'storyworld'
  people = Words.count(_captions(lpc.facts.KINDS[:4]))
  assert worlds.name_world('', people) is None
  assert worlds.name_world('', None) is None


def test_examples_are_the_story_files_of_words_that_the_models_saw():
  stories = pathlib.Path(__file__).resolve().parents[2] / 'configs' / 'stories'
  for world, file in (('storyworld', 'circle.yaml'), ('lpc', 'lpc.yaml')):
    example = worlds.EXAMPLES[world]
    told = yaml.safe_load((stories / file).read_text())
    assert {'context_frames': 5, **example} == {'context_frames': 5, **told}
    words = Words.from_json((find_model(world) / 'words.json').read_bytes())
    assert not any(words.unknown(one['prompt']) for one in example['scenes'])


def test_storyworld_needs_a_subset():
  options = {'reader': '', 'fps': 12.0}
  world = worlds.open_world('storyworld', subset='full', **options)
  assert isinstance(world, StoryWorld)
  assert world.describe() == {'subset': 'full'} and world.fps == 12
  for name, subset, words in (
    ('storyworld', '', 'name one with --subset'),
    ('storyworld', 'hard', "unknown subset 'hard'"),
    ('sprites', '', "unknown world 'sprites'"),
  ):
    with pytest.raises(UserError, match=words):
      worlds.open_world(name, subset=subset, **options)
  with pytest.raises(UserError, match='leave --reader out'):
    worlds.open_world('storyworld', subset='full', reader='runs/r', fps=8.0)


def test_shipped_reader_reads_the_sprite_world(tmp_path):
  world = worlds.open_world('lpc', subset='', reader='', fps=8.0)
  assert isinstance(world, SpriteWorld)
  assert set(world.reader.thresholds) == set(world.fact_names)
  grounds = [lpc.ground.ground(place, 64) for place in lpc.facts.PLACES]
  for place, ground in zip(lpc.facts.PLACES, grounds, strict=True):
    reading = world.read(np.stack([ground] * 2))
    assert reading.facts['place'].value == place
    assert not reading.clean.any()
  assert len(world.describe()['reader']) == 64
  with pytest.raises(UserError, match='there is no reader at .*missing'):
    worlds.open_world(
      'lpc', subset='', reader=str(tmp_path / 'missing'), fps=8.0
    )
  unsure = tmp_path / 'unsure.safetensors'
  dataclasses.replace(world.reader, thresholds={}).save(unsure)
  with pytest.raises(UserError, match='no thresholds.*reader --reader .*--out'):
    worlds.open_world('lpc', subset='', reader=str(unsure), fps=8.0)
