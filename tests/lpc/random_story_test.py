import itertools
import random

import numpy as np
import pytest

from phenaki_jax import lpc
from phenaki_jax.lpc import facts as facts_lib


def test_a_seed_draws_the_same_clips_images_and_stories():
  clip = lpc.sample_clip(random.Random('3 webvid'), size=128)
  assert clip.scenes[0].prompt == (
    'Video game character: a woman with curly purple hair in leather armour '
    'and white pants walks towards the camera on stone'
  )
  assert (clip.x, clip.y, clip.scenes[0].frames) == (64, 0, 12)
  image = lpc.sample_image(random.Random('3 laion'), size=128)
  assert image.scenes[0].prompt == (
    'a skeleton in chain mail and red pants waves a wand facing away on stone'
  )
  story = lpc.sample_story(random.Random('3 stories'), size=128)
  assert [scene.prompt for scene in story.scenes] == [
    'a man with short black hair in a white shirt and white pants walks to the '
    'left on stone',
    'he walks to the left',
    'he walks towards the camera',
  ]
  assert story.spans == ((0, 12), (12, 24), (24, 35))
  assert (story.x, story.y) == (32, 32)


def test_images_show_all_values_and_clips_those_of_clips():
  rng = random.Random(0)
  seen = {fact: set() for fact in facts_lib.FACT_NAMES}
  shown = {fact: set() for fact in facts_lib.FACT_NAMES}
  for _ in range(300):
    for values, sample in ((seen, lpc.sample_image), (shown, lpc.sample_clip)):
      facts = sample(rng, size=128).scenes[0].facts
      for fact, value in facts.as_dict().items():
        values[fact].add(value)
  for fact in facts_lib.FACT_NAMES:
    assert seen[fact] - {None} == set(facts_lib.VALUES[fact])
    assert shown[fact] - {None} == set(facts_lib.clip_values(fact))


@pytest.mark.parametrize('size', [64, 100, 128])
def test_starts_are_on_the_grid_and_walks_have_room(size):
  rng = random.Random(0)
  edges = {'left': size - 64, 'right': 0, 'up': size - 64, 'down': 0}
  for _ in range(300):
    clip = lpc.sample_clip(rng, size=size)
    facts, starts = clip.scenes[0].facts, np.array([clip.x, clip.y])
    assert (starts >= 0).all() and (starts <= size - 64).all()
    axis = facts.direction in ('up', 'down')
    if facts.action == 'walk':
      assert starts[int(axis)] == edges[facts.direction]
      assert starts[1 - int(axis)] % 16 == 0
    else:
      assert not (starts % 16).any()


def test_stories_change_only_the_action_and_direction():
  rng = random.Random(0)
  for _ in range(50):
    first, *later = lpc.sample_story(rng, size=128).scenes
    assert 2 <= len(later) <= 4
    for scene in later:
      act = {'action': scene.facts.action, 'direction': scene.facts.direction}
      assert first.facts.replace(**act) == scene.facts
      assert scene.facts.action != 'fall'


def test_a_share_of_the_later_scenes_is_at_a_new_place():
  rng = random.Random(0)
  moved = []
  for _ in range(100):
    story = lpc.sample_story(rng, size=128, new_places=0.25)
    for before, after in itertools.pairwise(story.scenes):
      names_place = 'place' in lpc.parse(after.prompt)
      assert names_place == (before.facts.place != after.facts.place)
      moved.append(names_place)
  assert 0.2 < np.mean(moved) < 0.3


def test_a_story_has_as_many_scenes_as_asked():
  drawn = lpc.sample_story(random.Random(0), size=128, scenes=8)
  assert len(drawn.scenes) == 8


def test_a_character_that_is_back_is_named_by_pronoun_or_kind_alone():
  rng = random.Random(0)
  words = set()
  for number in range(60):
    story = lpc.sample_return(rng, size=128, held_out=number % 2 == 1)
    first, *away, last = (scene.facts for scene in story.scenes)
    assert len(away) == 3 and {one.kind for one in away} != {first.kind}
    act = {'action': last.action, 'direction': last.direction}
    assert first.replace(**act) == last
    prompt = story.scenes[-1].prompt
    named = lpc.parse(prompt)
    assert set(named) <= {'kind', 'action', 'direction', 'place', 'style'}
    who = prompt.removesuffix(prompt[prompt.index(' is back') :])
    words.add(who)
    if 'kind' not in named:
      others = {scene.prompt.split()[0] for scene in story.scenes[2:4]}
      assert who in ('he', 'she', 'it') and who not in others
  assert {'he', 'she', 'it', 'the orc', 'the man'} <= words
