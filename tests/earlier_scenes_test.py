"""Which earlier scenes are chosen follows from the prompts so far."""

import random

from phenaki_jax.earlier_scenes import choose, recalled
from phenaki_jax.lpc import random_story

PROMPTS = (
  'a woman with long red hair walks to the left',
  'an orc in chain mail stands on the sand',
  'it walks to the left',
  'it walks to the right',
  'she walks to the left',
  'the orc is back, it walks to the left',
)


def test_scenes_that_the_prompt_speaks_of_are_chosen():
  assert choose(PROMPTS[:4], PROMPTS[4], 1) == (0,)
  assert choose(PROMPTS[:5], PROMPTS[5], 1) == (1,)
  # Of scenes that share nothing with it, the last ones.
  assert choose(['one', 'two', 'three'], 'four', 2) == (1, 2)
  assert choose(['one', 'two', 'three'], 'four', 8) == (0, 1, 2)
  assert choose([], 'four', 8) == ()


def test_a_pronoun_recalls_who_was_introduced():
  """In stories of more scenes than slots, which name them but once."""
  for kind, pronoun in (('a woman', 'she'), ('a man', 'he'), ('an orc', 'it')):
    later = (f'{pronoun} walks to the left', f'{pronoun} draws a bow') * 8
    for chosen in recalled((f'{kind} in chain mail walks', *later), 3)[1:]:
      assert chosen[0] == 0
  both = (*PROMPTS[:2], *(['it walks to the left'] * 6))
  assert recalled((*both, 'she is back'), 2)[-1] == (0, 1)
  assert choose((*both, 'she is back'), 'she walks', 1) == (0,)


def test_a_story_can_be_extended():
  whole = recalled(PROMPTS, 2)
  assert whole[0] == () and whole[1] == (0,) and len(whole[5]) == 2
  for length in range(len(PROMPTS)):
    assert recalled(PROMPTS[:length], 2) == whole[:length]
  assert recalled(PROMPTS, 0) == ((),) * 6


def test_one_slot_is_enough_to_introduce_somebody():
  both = (
    'a woman with long hair walks on stone',
    'a dark-skinned man with red hair draws a bow on stone',
    'he walks to the left',
  )
  for prompt, first in (
    ('she is back and walks to the left on stone', True),
    ('the woman is back and draws a bow on stone', True),
    ('he is back and walks on stone', False),
    ('the dark-skinned man is back', False),
  ):
    assert choose(both, prompt, 1) == (0 if first else 1,)
  similar = ('a man in plate armour', 'a dark-skinned man in chain mail')
  assert choose(similar, 'the man walks', 1) == (0,)
  assert choose(similar, 'the dark-skinned man walks', 1) == (1,)
  # An orc and a skeleton are neither called a man nor a woman.
  assert choose(('an orc walks', both[0], both[2]), 'it is back', 1) == (0,)
  assert choose(('an orc walks', both[0]), 'he is back', 1) == (0,)
  several = ('a man and a woman walk', 'it stands', 'he waves')
  assert choose(several, 'they are back', 1) == (0,)
  assert choose((*both, 'an orc walks'), 'they are back', 3) == (0, 1, 3)


def test_the_choice_is_among_a_fixed_number_of_scenes():
  film = tuple(f'scene {number}' for number in range(100))
  # The first scene is forgotten when 32 have followed.
  for count, first in ((32, 0), (33, 31), (100, 98)):
    last = recalled((*film[:count], 'scene 0'), 2)[-1]
    assert last == (first, count - 1)


def test_one_slot_finds_who_is_meant_in_the_sprite_world():
  """The share of `docs/conditioning.md`."""
  right = 0
  for seed in range(400):
    story = random_story.sample_return(random.Random(seed), size=64)
    prompts = tuple(scene.prompt for scene in story.scenes)
    right += recalled(prompts, 1)[-1] == (0,)
  assert right >= 0.99 * 400
  for seed in range(50):
    story = random_story.sample_story(random.Random(seed), size=64, scenes=8)
    prompts = tuple(scene.prompt for scene in story.scenes)
    assert recalled(prompts, 1)[1:] == ((0,),) * 7
