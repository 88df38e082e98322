import itertools
import random

from phenaki_jax import lpc
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import heldout


def test_one_combination_in_ten_is_held_out():
  names = ('kind', 'hair', 'outfit', 'pants')
  values = itertools.product(*(facts_lib.VALUES[name] for name in names))
  drawn = [heldout.is_drawn(dict(zip(names, v, strict=True))) for v in values]
  assert 0.08 < sum(drawn) / len(drawn) < 0.12


def test_splits_share_no_character_that_counts_as_held_out():
  rng = random.Random(0)
  sides = {}
  for held_out in (False, True):
    for sample in (lpc.sample_clip, lpc.sample_image, lpc.sample_story):
      for _ in range(150):
        story = sample(rng, size=64, held_out=held_out)
        facts = story.scenes[0].facts
        key = (facts.kind, facts.hair, facts.outfit, facts.pants)
        sides.setdefault(held_out, set()).add(key)
        if None in key:
          assert not lpc.is_held_out(facts)
        else:
          assert lpc.is_held_out(facts) == held_out
  shared = sides[False] & sides[True]
  assert shared and all(None in key for key in shared)
