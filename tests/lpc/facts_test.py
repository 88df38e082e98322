import json

import pytest

from phenaki_jax import lpc
from phenaki_jax.lpc import facts as facts_lib

WOMAN = lpc.Facts(
  kind='woman',
  hair='pink',
  hair_style='long',
  outfit='teal',
  pants='white',
  action='walk',
  direction='left',
  place='snow',
  style='pencil drawing',
)
KNIGHT = lpc.Facts(
  kind='skeleton',
  hair=None,
  hair_style=None,
  outfit='plate armour',
  pants=None,
  action='fall',
  direction='down',
  place='night',
)


@pytest.mark.parametrize('fact', facts_lib.FACT_NAMES)
def test_unknown_values_are_refused(fact):
  with pytest.raises(ValueError, match=f"unknown {fact} 'spam'; use one of"):
    WOMAN.replace(**{fact: 'spam'})


def test_hidden_facts_are_none_and_a_fall_has_one_direction():
  with pytest.raises(ValueError, match='unknown hair None'):
    WOMAN.replace(hair=None)
  with pytest.raises(ValueError, match="hair is 'pink', but a skeleton"):
    WOMAN.replace(kind='skeleton')
  with pytest.raises(ValueError, match="pants is 'white', but a woman in"):
    WOMAN.replace(outfit='plate armour')
  with pytest.raises(ValueError, match="a fall has only 'down'"):
    KNIGHT.replace(direction='up')


@pytest.mark.parametrize('facts', [WOMAN, KNIGHT])
def test_attributes_round_trip_through_json(facts):
  attributes = json.loads(json.dumps(facts.attributes(*facts_lib.FACT_NAMES)))
  assert lpc.Facts(**facts_lib.from_attributes(attributes)) == facts


def test_attributes_have_the_names_of_records():
  assert WOMAN.attributes('hair', 'hair_style', 'style') == {
    'hair': 'pink',
    'style': 'long',
    'style_of_picture': 'pencil drawing',
  }
  assert KNIGHT.attributes('style') == {'style_of_picture': None}
  assert facts_lib.from_attributes({'style': 'long'}) == {
    'hair_style': 'long',
    'style': 'plain',
  }
  with pytest.raises(ValueError, match="unknown attribute 'hair_style'"):
    facts_lib.from_attributes({'hair_style': 'long'})


def test_image_only_values_are_no_clip_values():
  assert facts_lib.clip_values('style') == ('plain',)
  assert facts_lib.clip_values('kind') == facts_lib.KINDS
  assert set(facts_lib.HAIRS) - set(facts_lib.clip_values('hair')) == {
    *('blue', 'pink')
  }
