"""CLIP equals the class of transformers on drawn weights."""

import json
import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.own_measures import OwnMeasures
from phenaki_jax.perceptual.weights import clip_networks
from phenaki_jax.runs.networks import open_features

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'clip.npz'


@pytest.fixture(scope='module')
def golden():
  return dict(np.load(GOLDEN))


@pytest.fixture(scope='module')
def folder(golden, tmp_path_factory):
  folder = tmp_path_factory.mktemp('clip')
  tensors = drawn.draw(drawn.shapes(golden), 10)
  safetensors.numpy.save_file(tensors, folder / 'clip.safetensors')
  drawn.write_tokenizer(folder / 'tokenizer.json')
  return folder


@pytest.fixture(scope='module')
def networks(folder):
  return clip_networks(str(folder / 'clip.safetensors'))


def _unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_images_equal_pytorch(networks, golden):
  image = networks.image
  pixels = jnp.asarray(drawn.pixels(2, 32, 32, 3, seed=11))
  found = jax.jit(image.features)(image.params, pixels)['embedding']
  np.testing.assert_allclose(
    _unit(np.asarray(found)), golden['image'], rtol=1e-4, atol=1e-5
  )
  assert image.module.variant == 'ViT-128/8 at 32 px'


def test_texts_equal_pytorch(networks, golden):
  texts = networks.texts
  found = texts._compiled(texts.params, jnp.asarray(golden['texts']))
  np.testing.assert_allclose(
    _unit(np.asarray(found)), golden['text'], rtol=1e-4, atol=1e-5
  )


def test_texts_are_lower_case_words_of_any_length(networks):
  texts = networks.texts
  ids = texts.tokenizer.encode(' A  Cat ').ids
  words = [texts.tokenizer.id_to_token(number) for number in ids]
  assert words == ['<|startoftext|>', 'a</w>', 'cat</w>', '<|endoftext|>']
  assert (ids[0], ids[-1]) == (598, 599)
  np.testing.assert_array_equal(texts('A  Cat'), texts('a cat'))
  assert np.abs(texts('a cat') - texts('cat a')).max() > 1e-3
  # Of a text that is too long the end is cut, and still ends it.
  np.testing.assert_array_equal(texts('a ' * 10), texts('a ' * 30))


def test_clips_are_compared_with_prompts_and_with_themselves(folder):
  features = open_features(f'clip={folder / "clip.safetensors"}')
  described = features.describe()
  assert described['variant'] == 'ViT-128/8 at 32 px'
  assert len(described['weights']) == 64 and not features.of_clips
  frames = np.tile(np.arange(0, 240, 5, dtype=np.uint8)[:, None], (3, 32, 1, 3))
  vectors = features(frames)
  own = OwnMeasures.of(features, vectors, number=0, prompt='a cat')
  found = {one.name: one for one in own.measures(features, protocol={})}
  assert found['frame_consistency@clip'].value == pytest.approx(1)
  text = _unit(features.embed('a cat'))
  expected = (_unit(vectors) @ text).mean()
  assert found['clipsim@clip'].value == pytest.approx(expected, rel=1e-5)


def test_files_that_do_not_fit_are_refused(folder, tmp_path):
  content = (folder / 'clip.safetensors').read_bytes()
  path = tmp_path / 'clip.safetensors'
  path.write_bytes(content)
  with pytest.raises(UserError, match='tokenizer.json does not exist'):
    clip_networks(str(path))
  tokenizer = tmp_path / 'tokenizer.json'
  tokenizer.write_text('{}')
  with pytest.raises(UserError, match='no file of a tokenizer'):
    clip_networks(str(path))
  drawn.write_tokenizer(tokenizer)
  found = json.loads(tokenizer.read_text())
  del found['model']['vocab']['a!']
  tokenizer.write_text(json.dumps(found))
  with pytest.raises(UserError, match='has 599 tokens.* of 600'):
    clip_networks(str(path))
  safetensors.numpy.save_file({'x': np.zeros(2, np.float32)}, path)
  with pytest.raises(UserError, match='no tensor .*clip-vit-base-patch32'):
    clip_networks(str(path))
