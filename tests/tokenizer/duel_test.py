"""The terms of both players equal loops over frames and clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.adversarial import AdversaryConfig
from phenaki_jax.tokenizer.duel import (
  Pair,
  duel,
  follow,
  make_discriminator,
)

MEANS = jnp.asarray([0.5, -0.5])


def _pair(frames, lengths, seed):
  generator = np.random.default_rng(seed)
  shape = (2, len(lengths), frames, 4, 8, 3)
  target, output = generator.uniform(-1, 1, shape)
  mask = np.arange(frames)[None] < np.array(lengths)[:, None]
  return Pair(
    target=jnp.asarray(target, jnp.float32),
    output=jnp.asarray(output, jnp.float32),
    mask=jnp.asarray(mask, jnp.float32),
  )


@pytest.mark.parametrize('judges', ['frames', 'clips'])
def test_terms_equal_loops(judges):
  config = AdversaryConfig(judges=judges, channels=(3,), lecam=0.1)
  pairs = [_pair(3, [3, 2], 0), _pair(1, [1, 1, 1], 1)]
  module = make_discriminator(config)
  first = pairs[0].target[:1]
  example = first[:, 0] if judges == 'frames' else first
  shapes = jax.eval_shape(module.init, rng.root(0), example)['params']
  generator = np.random.default_rng(2)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(0.3 * generator.normal(size=leaf.shape), 'f4'),
    sharding.unbox(shapes),
  )
  found = jax.jit(lambda *x: duel(config, *x, MEANS))(params, pairs)

  def score(x):
    return module.apply({'params': params}, x[None])[0]

  scored = jax.jit(jax.value_and_grad(score))
  real, fake, penalties = [], [], []
  for pair in pairs:
    for row in range(len(pair.mask)):
      target, output = pair.target[row], pair.output[row]
      examples = [(target, output)]
      if judges == 'frames':
        count = int(pair.mask[row].sum())
        examples = list(zip(target[:count], output[:count], strict=True))
      for one, other in examples:
        value, slope = scored(one)
        real.append(value)
        fake.append(scored(other)[0])
        penalties.append(0.5 * (slope**2).sum())
  assert len(real) == (8 if judges == 'frames' else 5)
  real, fake = np.array(real), np.array(fake)
  expected = {
    'real': real.mean(),
    'fake': fake.mean(),
    'model': np.log1p(np.exp(-fake)).mean(),
    'discriminator': (np.log1p(np.exp(-real)) + np.log1p(np.exp(fake))).mean(),
    'r1': np.mean(penalties),
    'lecam': (
      np.maximum(real + 0.5, 0) ** 2 + np.maximum(0.5 - fake, 0) ** 2
    ).mean(),
  }
  for name, value in expected.items():
    assert float(getattr(found, name)) == pytest.approx(value, rel=1e-4), name
  after = follow(MEANS, found)
  np.testing.assert_allclose(
    after, 0.99 * MEANS + 0.01 * np.array([real.mean(), fake.mean()]), rtol=1e-4
  )
