"""A new word by the command: what is trained, and what stays the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.cli import main as main_lib
from phenaki_jax.generator import Generator
from phenaki_jax.runs.open import load
from phenaki_jax.training.checkpoints import load_params


@pytest.fixture(scope='module')
def adapted(tiny_bundle, tmp_path_factory):
  """Adapt the tiny bundle to three images, for two steps."""
  folder = tmp_path_factory.mktemp('zog')
  for number in range(3):
    pixels = np.full((16, 16, 3), 80 * number, np.uint8)
    Image.fromarray(pixels).save(folder / f'{number}.png')
  out = tmp_path_factory.mktemp('adapted') / 'run'
  argv = [
    *('adapt', '--character', 'zog', '--images', str(folder)),
    *('--model', str(tiny_bundle), '--out', str(out), '--caption', 'a zog'),
    *('--set', 'train.steps=2', '--set', 'data.num_threads=0'),
  ]
  assert main_lib.main(argv) == 0
  return out


def test_one_row_differs(adapted, tiny_sampler):
  saved = load_params(adapted)
  assert saved.step == 2
  params = dict(saved.params)
  (row,) = params.pop('words')['words']
  jax.tree.map(
    np.testing.assert_array_equal, params, tiny_sampler.generator_params
  )
  vocabulary = tiny_sampler.vocabulary
  table = tiny_sampler.generator_params['text']['token_embedder']['embedding']
  start = table[np.asarray(vocabulary.encode('zog'))].mean(0)
  assert np.abs(row - start).max() > 1e-3


def test_prompts_without_the_word_give_the_same_logits(adapted, tiny_bundle):
  models = [load(folder) for folder in (tiny_bundle, adapted)]
  bits = np.random.default_rng(0)
  ids = jnp.asarray(bits.integers(0, 17, (2, 5, 2, 2)), jnp.int32)

  def logits(model, prompts):
    sampler = model.sampler
    own = Generator(config=sampler.models.generator, text=sampler.models.text)
    texts = [sampler.vocabulary.encode_padded(text, 12) for text in prompts]

    @jax.jit
    def compute(params, texts):
      return own.logits(params, ids, own.encode(params, texts))

    return compute(sampler.generator_params, np.stack(texts))

  known = ['a red circle moves left', 'a blue square']
  before, after = (logits(model, known) for model in models)
  np.testing.assert_array_equal(before, after)
  asked = logits(models[1], ['a red zog moves left', 'a zog'])
  assert not np.allclose(asked, after, atol=1e-2)
  assert not models[1].words.unknown('a zog')
