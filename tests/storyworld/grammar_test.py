import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar

SECONDS = st.none() | st.builds(
  facts_lib.SecondObject,
  shape=st.sampled_from(facts_lib.SHAPES),
  colour=st.sampled_from(facts_lib.COLOURS),
)


def _facts(motions):
  return st.builds(
    facts_lib.Facts,
    shape=st.sampled_from(facts_lib.SHAPES),
    colour=st.sampled_from(facts_lib.COLOURS),
    size=st.sampled_from(facts_lib.SIZES),
    motion=motions,
    place=st.sampled_from(facts_lib.PLACES),
    style=st.sampled_from(facts_lib.STYLES),
    second=SECONDS,
  )


ANY = _facts(st.none() | st.sampled_from(facts_lib.MOTIONS))
MOVING = _facts(st.sampled_from(facts_lib.MOTIONS))
SEEDS = st.integers(0, 2**32)


def _named(facts):
  """Return what a caption of the facts names."""
  named = facts.visible()
  if facts.second is not None:
    named['second'] = facts.second
  return named


@settings(deadline=None)
@given(ANY, SEEDS)
def test_parse_inverts_caption(facts, seed):
  for rng in (None, np.random.default_rng(seed)):
    caption = grammar.caption(facts, rng)
    assert grammar.parse(caption) == _named(facts)
    assert len(caption.split()) <= 24
    assert caption == caption.lower()


@settings(deadline=None)
@given(MOVING, MOVING, SEEDS)
def test_parse_inverts_continuation(previous, facts, seed):
  prompt = grammar.continuation(previous, facts, np.random.default_rng(seed))
  changed = grammar.changed_facts(previous, facts)
  wanted = {fact: getattr(facts, fact) for fact in changed}
  assert grammar.parse(prompt) == wanted | {'motion': facts.motion}
  assert 'it' in prompt.split()
  if changed:
    short = grammar.continuation(
      previous, facts, np.random.default_rng(seed), repeats_motion=False
    )
    assert grammar.parse(short) == wanted


def test_canonical_captions():
  first = facts_lib.Facts(shape='circle', colour='red', motion='right')
  assert grammar.caption(first) == 'a big red circle moves right on grass'
  short = 'a red circle moves right on grass'
  assert grammar.caption(first, subset='easy') == short
  blue = dataclasses.replace(first, colour='blue', motion='left')
  assert grammar.continuation(first, blue) == 'it turns blue and moves left'
  assert grammar.continuation(first, first) == 'it goes on moving right'
  for change, words in (
    ({'colour': 'blue'}, 'it turns blue'),
    ({'shape': 'square', 'colour': 'blue'}, 'it turns blue, becomes a square'),
    ({'motion': 'left'}, 'it moves left'),
    ({'place': 'night'}, 'now at night'),
    ({'place': 'sea', 'colour': 'blue'}, 'it turns blue, now at sea'),
  ):
    other = first.replace(**change)
    words_only = grammar.continuation(first, other, repeats_motion=False)
    assert words_only == words
  same = grammar.continuation(first, first, repeats_motion=False)
  assert same == 'it goes on moving right'
  orange = dataclasses.replace(first, colour='orange', motion=None)
  assert grammar.caption(orange, subset='easy') == 'an orange circle on grass'


@pytest.mark.parametrize(
  'prompt, named',
  [
    (
      'A yellow ball bounces up and down on the beach.',
      {
        'shape': 'circle',
        'colour': 'yellow',
        'motion': 'bounce',
        'place': 'sand',
        'style': 'plain',
      },
    ),
    ('Now it rotates at night!', {'motion': 'spin', 'place': 'night'}),
    ('It stops.', {'motion': 'still'}),
    (
      'a pencil sketch of a large pink heart',
      {
        'shape': 'heart',
        'colour': 'pink',
        'size': 'big',
        'style': 'pencil',
      },
    ),
    ('once upon a time', {}),
  ],
)
def test_parse_understands_free_prompts(prompt, named):
  assert grammar.parse(prompt) == named


def test_continuation_without_motion_raises():
  still = facts_lib.Facts(shape='circle', colour='red', motion=None)
  with pytest.raises(ValueError, match='motion'):
    grammar.continuation(still, still)
