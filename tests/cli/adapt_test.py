"""A new word by the command: what is trained, and what stays the same."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.cli import main as main_lib
from phenaki_jax.diffusion.conditions import Conditions
from phenaki_jax.generator import Generator
from phenaki_jax.runs.diffusion import load_any
from phenaki_jax.training.checkpoints import load_params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapted:
  """A model and its adaptation.

  Attributes:
    start: bundle of the model.
    run: run directory of the adaptation.
  """

  start: pathlib.Path
  run: pathlib.Path


@pytest.fixture(scope='module', params=['tiny_bundle', 'diffusion_bundle'])
def adapted(request, tmp_path_factory):
  """Adapt a generator and a diffusion model to three images, for two steps."""
  start = request.getfixturevalue(request.param)
  folder = tmp_path_factory.mktemp('zog')
  for number in range(3):
    pixels = np.full((16, 16, 3), 80 * number, np.uint8)
    Image.fromarray(pixels).save(folder / f'{number}.png')
  out = tmp_path_factory.mktemp('adapted') / 'run'
  argv = [
    *('adapt', '--character', 'zog', '--images', str(folder)),
    *('--model', str(start), '--out', str(out), '--caption', 'a zog'),
    *('--set', 'train.steps=2', '--set', 'data.num_threads=0'),
  ]
  assert main_lib.main(argv) == 0
  return Adapted(start=start, run=out)


def _params(sampler):
  if sampler.models.kind == 'diffusion':
    return sampler.params
  return sampler.generator_params


def test_one_row_differs(adapted):
  saved, start = load_params(adapted.run), load_any(adapted.start).sampler
  assert saved.step == 2
  params, known = dict(saved.params), _params(start)
  (row,) = params.pop('words')['words']
  jax.tree.map(np.testing.assert_array_equal, params, known)
  table = known['text']['token_embedder']['embedding']
  pieces = table[np.asarray(start.vocabulary.encode('zog'))].mean(0)
  assert np.abs(row - pieces).max() > 1e-3


def _predict(model, prompts):
  """Return the logits of tokens, or what is predicted in noisy frames."""
  sampler, bits = model.sampler, np.random.default_rng(0)
  models, params = sampler.models, _params(sampler)
  texts = np.stack(
    [sampler.vocabulary.encode_padded(text, 12) for text in prompts]
  )
  if models.kind == 'generator':
    own = Generator(config=models.generator, text=models.text)
    ids = jnp.asarray(bits.integers(0, 17, (2, 5, 2, 2)), jnp.int32)
    return jax.jit(
      lambda params, texts: own.logits(params, ids, own.encode(params, texts))
    )(params, texts)
  x = jnp.asarray(bits.normal(size=(2, 1, 8, 8, 3)), jnp.float32)

  @jax.jit
  def denoise(params, texts):
    encoded = models.denoiser.encode(params, texts)
    given = Conditions(text=encoded.vectors, text_mask=encoded.mask)
    return models.denoiser.predict(params, x, jnp.full(2, 0.5), given)

  return denoise(params, texts)


def test_prompts_without_the_word_give_the_same_predictions(adapted):
  models = [load_any(folder) for folder in (adapted.start, adapted.run)]
  known = ['a red circle moves left', 'a blue square']
  before, after = (_predict(model, known) for model in models)
  np.testing.assert_array_equal(before, after)
  asked = _predict(models[1], ['a red zog moves left', 'a zog'])
  assert not np.allclose(asked, after, atol=1e-2)
  assert not models[1].words.unknown('a zog')
