"""Every model's parameters, with shapes and axis names, as golden files.

A change of a layer then shows as a line of the diff. After an intended one,
write the files anew and review them:

    PHENAKI_REFRESH_GOLDENS=1 python -m pytest tests/parameters_test.py
"""

import functools
import math
import os
import pathlib

import jax
import pytest
from flax.traverse_util import flatten_dict

from phenaki_jax import rng, sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.masked_transformer import config as generator_config
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer import config as tokenizer_config
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

GOLDENS = pathlib.Path(__file__).parent / 'golden' / 'params'


def _generator(name):
  tokenizer = TokenizerConfig(**tokenizer_config.SIZES['paper'])
  config = GeneratorConfig(
    codebook_size=tokenizer.codebook_size,
    grid=tokenizer.grid(11, (128, 128)),
    **generator_config.SIZES[name],
  )
  return GeneratorTask(
    config=config,
    text=TextConfig(),
    tokenizer=tokenizer,
    tokenizer_params={},
  )


def _tokenizer(name):
  return TokenizerTask(config=TokenizerConfig(**tokenizer_config.SIZES[name]))


TASKS = {
  'tokenizer_tiny': _tokenizer('tiny'),
  'tokenizer_paper': _tokenizer('paper'),
  'generator_tiny': _generator('tiny'),
  'generator_paper_0p9b': _generator('paper_0p9b'),
  'generator_paper_1p8b': _generator('paper_1p8b'),
  'generator_paper_prediction': _generator('paper_prediction'),
  'diffusion': DiffusionTask(
    config=DiffusionConfig(degradation=0.1),
    text=TextConfig(),
    tokenizer=TokenizerConfig(),
  ),
}

every = pytest.mark.parametrize('name', TASKS)


@functools.cache
def _boxed(name):
  return jax.eval_shape(TASKS[name].init, rng.root(0))


@functools.cache
def _lines(name):
  shapes = {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(
      sharding.unbox(_boxed(name))
    )
  }
  names = flatten_dict(
    sharding.map_parameters(lambda param: param.names, _boxed(name)), sep='/'
  )
  return [
    (path, shapes[path], tuple(str(axis) for axis in names[path]))
    for path in sorted(shapes)
  ]


def _count(name, part=''):
  return sum(
    math.prod(shape) for path, shape, _ in _lines(name) if part in f'/{path}/'
  )


@every
def test_parameters_equal_their_golden(name):
  rows = [
    f'{path} {list(shape)} {" ".join(axes)}'
    for path, shape, axes in _lines(name)
  ]
  text = '\n'.join([*rows, f'total {_count(name)}']) + '\n'
  golden = GOLDENS / f'{name}.txt'
  if os.environ.get('PHENAKI_REFRESH_GOLDENS') == '1':
    GOLDENS.mkdir(parents=True, exist_ok=True)
    golden.write_text(text)
  assert golden.read_text() == text, (
    'the parameters have changed; if that is intended, refresh the golden file '
    'as this file says'
  )


def test_every_golden_has_its_model():
  assert sorted(path.stem for path in GOLDENS.glob('*.txt')) == sorted(TASKS)


@pytest.mark.parametrize(
  ('name', 'billions'),
  [
    ('generator_paper_0p9b', 0.912),
    ('generator_paper_1p8b', 1.812),
    ('generator_paper_prediction', 0.17),
  ],
)
def test_blocks_of_the_generators_are_as_large_as_the_papers(name, billions):
  blocks = _count(name, '/generator/blocks/')
  assert round(blocks / 1e9, 3) == billions


def test_blocks_of_the_tokenizer_are_as_large_as_the_papers():
  blocks = _count('tokenizer_paper', '/space/') + _count(
    'tokenizer_paper', '/time/'
  )
  assert round(blocks / 1e6, 1) == 50.3


@every
@pytest.mark.parametrize(
  'config',
  [
    MeshConfig(),
    MeshConfig(data=4, fsdp=2),
    MeshConfig(data=2, fsdp=2, tensor=2),
  ],
  ids=['8', '4x2', '2x2x2'],
)
def test_every_parameter_has_a_place_on_every_mesh(name, config):
  mesh = sharding.make_mesh(config)
  shardings = sharding.param_shardings(_boxed(name), mesh, uneven='replicate')
  leaves = jax.tree.leaves(shardings)
  assert len(leaves) == len(_lines(name))
  split = sum(not leaf.is_fully_replicated for leaf in leaves)
  assert (split > len(leaves) // 4) == (config.fsdp > 1)
