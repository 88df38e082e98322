"""A new word, learned from five images by the reference, and its ablation."""

import pathlib
import sys

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'benchmarks'))

import adapt as benchmark  # noqa: E402

from phenaki_jax.runs.adapt import Adaptation, adaptation  # noqa: E402
from phenaki_jax.runs.open import load  # noqa: E402
from phenaki_jax.runs.train import train  # noqa: E402

SPRITE = {'colour': 'blue', 'shape': 'triangle'}


def test_images_have_captions_with_the_word(tmp_path):
  benchmark.write_images(tmp_path, **SPRITE)
  records = list(Adaptation(character='wug', images=str(tmp_path)).source)
  assert len(records) == 5
  assert records[0].caption == 'a wug on grass'


@pytest.mark.slow
def test_new_word_draws_its_sprite_with_old_actions(tmp_path):
  images, run = tmp_path / 'wug', tmp_path / 'run'
  benchmark.write_images(images, **SPRITE)
  request = Adaptation(character='wug', like='blue', images=str(images))
  assert train(adaptation(request, run, []), run) == 0
  before, after = load(), load(run)
  # The images show a still sprite in five places; the prompts ask for motion.
  found = benchmark.shares(after, 'a wug', clips=8, **SPRITE)
  assert found['all'] > 0.7
  assert benchmark.shares(before, 'a wug', clips=8, **SPRITE)['all'] < 0.2
  # Old prompts cannot lose anything.
  for name in ('text', 'generator'):
    jax.tree.map(
      np.testing.assert_array_equal,
      after.sampler.generator_params[name],
      before.sampler.generator_params[name],
    )
