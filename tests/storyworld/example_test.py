import collections
import itertools

import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar

SUBSETS = tuple(storyworld.SUBSETS)


def _clip(seed, index, subset='easy', **kwargs):
  return storyworld.training_clip(
    seed, index, subset, frames=7, size=16, **kwargs
  )


def test_examples_are_functions_of_seed_and_index():
  first = [_clip(1, i, continuation_share=0.5) for i in range(6)]
  again = [_clip(1, i, continuation_share=0.5) for i in reversed(range(6))]
  for one, two in zip(first, reversed(again), strict=True):
    np.testing.assert_array_equal(one.frames, two.frames)
    assert (one.caption, one.facts) == (two.caption, two.facts)
  other = [_clip(2, i, continuation_share=0.5) for i in range(6)]
  assert [c.caption for c in other] != [c.caption for c in first]


def test_what_is_not_drawn_is_otherwise_the_same():
  options = {'continuation_share': 0.7, 'history': 2, 'depth': True}
  lengths = set()
  for index in range(12):
    drawn = _clip(1, index, **options)
    plain = _clip(1, index, **options, draws=False)
    assert drawn.frames.any() and not plain.frames.any()
    assert plain.frames.shape == drawn.frames.shape
    for name in ('caption', 'context_frames', 'facts', 'previous_facts'):
      assert getattr(plain, name) == getattr(drawn, name)
    np.testing.assert_array_equal(plain.depth, drawn.depth)
    captions = [one.caption for one in drawn.history]
    assert [one.caption for one in plain.history] == captions
    lengths.add(len(captions))
    image = storyworld.training_image(1, index, 'easy', size=16)
    plain = storyworld.training_image(1, index, 'easy', size=16, draws=False)
    assert image.frame.any() and not plain.frame.any()
    assert (plain.caption, plain.facts) == (image.caption, image.facts)
  assert lengths == {0, 1, 2}


@pytest.mark.parametrize('subset', SUBSETS)
def test_examples_belong_to_their_split(subset):
  for split in ('train', 'heldout'):
    for index in range(30):
      clip = _clip(3, index, subset, continuation_share=0.5, split=split)
      image = storyworld.training_image(3, index, subset, size=16, split=split)
      every = [clip.facts, image.facts]
      if clip.previous_facts is not None:
        every.append(clip.previous_facts)
      for facts in every:
        assert storyworld.is_held_out(facts) == (split == 'heldout')


@pytest.mark.parametrize('subset', SUBSETS)
def test_a_tenth_is_held_out_but_every_pair_of_values_is_trained(subset):
  subset = storyworld.subset_named(subset)
  names = ('shape', 'colour', 'motion', 'place')
  rng = np.random.default_rng(0)
  drawn = [storyworld.sample_facts(rng, subset, 'all') for _ in range(1500)]
  held = [facts for facts in drawn if storyworld.is_held_out(facts)]
  assert 0.05 < len(held) / len(drawn) < 0.2
  trained = set(drawn) - set(held)
  for one, two in itertools.combinations(names, 2):
    pairs = {(getattr(f, one), getattr(f, two)) for f in trained}
    every = itertools.product(subset.clip_values(one), subset.clip_values(two))
    assert set(every) - pairs <= {('circle', 'spin')}


@pytest.mark.parametrize(
  ('motion', 'matters'), [('grow', False), ('left', True)]
)
def test_hidden_size_does_not_change_the_split(motion, matters):
  def held(colour, size):
    return storyworld.is_held_out(
      storyworld.Facts(shape='star', colour=colour, motion=motion, size=size)
    )

  differs = [
    held(colour, 'small') != held(colour, 'big') for colour in facts_lib.COLOURS
  ]
  assert any(differs) == matters


@pytest.mark.parametrize('subset', SUBSETS)
def test_image_only_values_are_only_in_images(subset):
  subset = storyworld.subset_named(subset)
  counts = collections.Counter()
  for index in range(200):
    clip = _clip(4, index, subset, continuation_share=0.5)
    for fact, value in clip.facts.as_dict().items():
      assert value in subset.clip_values(fact)
    image = storyworld.training_image(4, index, subset, size=16)
    assert image.facts.motion is None
    assert 'motion' not in grammar.parse(image.caption)
    rare = [
      (fact, value)
      for fact, value in image.facts.as_dict().items()
      if value in subset.image_values(fact)
    ]
    counts[len(rare)] += 1
    counts.update(rare)
  assert set(counts) & {3, 4, 5} == set()
  assert counts[0] > 40 and counts[1] > 40 and counts[2] > 10
  for fact, values in subset.image_only.items():
    assert all(counts[fact, value] > 5 for value in values)


def test_continuations_are_captioned_by_their_own_facts():
  pronouns = changes_alone = 0
  for index in range(60):
    clip = _clip(6, index, 'medium', continuation_share=1.0, context_frames=3)
    assert clip.context_frames == 3
    assert clip.previous_facts is not None
    pronouns += clip.caption.startswith(('it ', 'now '))
    named = grammar.parse(clip.caption)
    for fact, value in named.items():
      assert getattr(clip.facts, fact) == value
    if 'motion' not in named:
      changes_alone += 1
      assert clip.facts.motion == clip.previous_facts.motion
  assert 30 < pronouns < 60
  # A motion that goes on is not always named.
  assert 5 < changes_alone < 30


def test_captions_match_what_the_oracle_reads():
  for index in range(12):
    clip = storyworld.training_clip(8, index, 'medium', frames=8, size=64)
    reading = storyworld.read_clip(clip.frames, subset='medium')
    for fact, value in grammar.parse(clip.caption).items():
      assert reading[fact] == value


def test_invalid_arguments_raise():
  with pytest.raises(ValueError, match='continuation_share'):
    _clip(0, 0, continuation_share=1.5)
  with pytest.raises(ValueError, match='context_frames'):
    _clip(0, 0, continuation_share=0.5, context_frames=7)
  with pytest.raises(ValueError, match='negative'):
    _clip(-1, 0)


def test_circles_never_spin():
  for index in range(200):
    facts = _clip(9, index, 'full', continuation_share=0.5).facts
    assert facts_lib.is_visible(facts)
