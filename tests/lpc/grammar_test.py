import random

import pytest

from phenaki_jax import lpc
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import grammar

ORC = lpc.Facts(
  kind='orc',
  hair='white',
  hair_style='mohawk',
  outfit='white',
  pants='red',
  action='shoot',
  direction='up',
  place='water',
)


def visible(facts, *names):
  values = facts.as_dict()
  return {
    name: values[name]
    for name in names or facts_lib.FACT_NAMES
    if values[name] is not None
  }


@pytest.mark.parametrize('seed', range(3))
def test_parse_inverts_what_is_written(seed):
  rng = random.Random(seed)
  styles = set()
  for _ in range(100):
    image = lpc.sample_image(rng, size=128).scenes[0]
    assert lpc.parse(image.prompt) == visible(image.facts)
    assert lpc.parse(lpc.prompt(image.facts)) == visible(image.facts)
    styles.add(image.facts.style)
    clip = lpc.sample_clip(rng, size=128).scenes[0]
    assert lpc.parse(clip.prompt) == visible(clip.facts)
    shouted = clip.prompt.upper().replace(' ', '\n ')
    assert lpc.parse(shouted) == visible(clip.facts)
    first, *later = lpc.sample_story(rng, size=128).scenes
    assert lpc.parse(first.prompt) == visible(first.facts)
    for scene in later:
      said = visible(scene.facts, 'action', 'direction')
      assert lpc.parse(scene.prompt) == said
  assert styles == set(facts_lib.STYLES)


def test_sentences():
  assert lpc.prompt(ORC) == (
    'an orc with mohawk white hair in a white shirt and red pants draws a bow '
    'facing away by the water'
  )
  knight = ORC.replace(
    kind='dark-skinned woman',
    outfit='plate armour',
    pants=None,
    action='walk',
    style='watercolor painting',
  )
  assert lpc.prompt(knight) == (
    'a watercolor painting of a dark-skinned woman with mohawk white hair in '
    'plate armour walks away from the camera by the water'
  )
  bones = ORC.replace(
    kind='skeleton', hair=None, hair_style=None, outfit='chain mail'
  )
  assert grammar.describe(bones) == 'a skeleton in chain mail and red pants'


@pytest.mark.parametrize(
  ('kind', 'pronoun'),
  [('man', 'he'), ('dark-skinned woman', 'she'), ('orc', 'it')],
)
def test_later_scenes_have_a_pronoun(kind, pronoun):
  facts = ORC.replace(kind=kind, action='fall', direction='down')
  assert lpc.continuation(facts) == f'{pronoun} falls to the ground'


def test_a_later_scene_names_a_new_place():
  snow = ORC.replace(place='snow')
  text = lpc.continuation(snow, previous=ORC)
  assert text == 'it draws a bow facing away, now in the snow'
  assert lpc.parse(text) == {
    'action': 'shoot',
    'direction': 'up',
    'place': 'snow',
  }
  assert lpc.continuation(ORC, previous=ORC) == lpc.continuation(ORC)


def test_captions_of_clips_vary():
  rng = random.Random(0)
  captions = {lpc.caption(ORC, rng) for _ in range(200)}
  # Three forms, two verbs, with and without a full stop.
  assert len(captions) == 12
  assert all(caption[0].isupper() for caption in captions)


def test_other_words_are_ignored():
  assert lpc.parse('the left-handed waterman draws') == {'direction': 'left'}
  assert lpc.parse('hello') == {}
