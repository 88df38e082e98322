"""FLOP formulas compared with the matrix products of traced programs."""

import math
import pathlib

import jax
import jax.numpy as jnp
import pytest
from products import count_flops

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.diffusion.conditions import Conditions as DiffusionConditions
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.unet import UNet
from phenaki_jax.masked_transformer import config as generator_config
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.conditions import Canvas, Conditions, Entries, blank
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.planning import flops
from phenaki_jax.planning.unet_flops import unet
from phenaki_jax.runs import experiment, plan
from phenaki_jax.runs.assemble import assemble_abstract
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.tokenizer import config as tokenizer_config
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT

# A generator that sees its own frames on a canvas and in the memory.
PORTS = (
  *('generator.ports.canvas=True', 'generator.ports.memory=source,character'),
  *("generator.ports.scalars=('fps',)", 'generator.attention=factorized'),
  *('task.canvas_animation_share=0.5', 'task.source_share=0.5'),
  'task.character_share=0.5',
  'task.time_off_clips=0.1',
)


def _shaped(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def _products(model, *inputs, learned=()):
  """Count the FLOPs of a forward pass and of a training step.

  `learned` are the indices of inputs whose gradient is computed too.
  """
  params = sharding.unbox(
    jax.eval_shape(model.init, jax.random.key(0), *inputs)
  )

  def loss(params, *inputs):
    out = model.apply(params, *inputs)
    return sum(
      jnp.sum(leaf)
      for leaf in jax.tree.leaves(out)
      if jnp.issubdtype(leaf.dtype, jnp.floating)
    )

  step = jax.value_and_grad(loss, (0, *(1 + i for i in learned)))
  return (
    count_flops(jax.make_jaxpr(loss)(params, *inputs).jaxpr),
    count_flops(jax.make_jaxpr(step)(params, *inputs).jaxpr),
  )


def _assert_close(counted, products):
  forward, training = products
  assert counted.forward == pytest.approx(forward, rel=0.01)
  assert counted.training == pytest.approx(training, rel=0.01)


@pytest.mark.parametrize(
  ('frames', 'size', 'sizes'),
  [
    (9, (64, 64), {'width': 256, 'num_heads': 4, 'mlp_dim': 1024}),
    (1, (64, 96), {'width': 128, 'num_heads': 4, 'mlp_dim': 384}),
    (
      7,
      (64, 32),
      {'first_frame': 'repeated', 'tubelet': 3, 'encoder_spatial_layers': 2},
    ),
    (
      5,
      (128, 128),
      {'quantizer': 'vq', 'spatial_layers': 3, 'scan': True, 'tubelet': 4},
    ),
  ],
)
def test_tokenizer_formula_equals_traced_flops(frames, size, sizes):
  config = TokenizerConfig(**sizes)
  counted = flops.tokenizer(config, batch=2, frames=frames, size=size)
  products = _products(CViViT(config), _shaped(2, frames, *size, 3))
  _assert_close(counted, products)


@pytest.mark.parametrize(
  ('texts', 'learned_text', 'sizes'),
  [
    (2, False, {'width': 256, 'num_layers': 6, 'num_heads': 4, 'scan': True}),
    (2, True, {'width': 320, 'num_layers': 2, 'positions': 'learned'}),
    (6, True, {'width': 192, 'num_layers': 2, 'num_heads': 6, 'mlp_dim': 768}),
  ],
)
def test_generator_formula_equals_traced_flops(texts, learned_text, sizes):
  config = GeneratorConfig(grid=(5, 8, 8), codebook_size=1024, **sizes)
  counted = flops.generator(
    config,
    batch=2,
    text_length=32,
    text_width=768,
    texts=texts,
    learned_text=learned_text,
  )
  inputs = [
    _shaped(2, 5, 8, 8, dtype=jnp.int32),
    _shaped(texts, 32, 768),
    _shaped(texts, 32, dtype=bool),
  ]
  if texts > 2:
    # A clip, and a row of five images.
    inputs += [_shaped(2, 5, dtype=jnp.int32)] * 2 + [Packing(packed=1)]
  products = _products(
    MaskedTransformer(config), *inputs, learned=(1,) if learned_text else ()
  )
  _assert_close(counted, products)


def test_text_encoder_formula_equals_traced_flops():
  config = TextConfig(width=128, num_heads=4, head_dim=16)
  counted = flops.text_encoder(config, batch=3)
  ids = _shaped(3, config.max_length, dtype=jnp.int32)
  _assert_close(counted, _products(T5Encoder(config), ids))


def test_flops_of_the_paper_size_equal_a_hand_calculation():
  """1.8B parameters, 11 frames of 128x128, 64 vectors of T5-XXL."""
  config = GeneratorConfig(**generator_config.SIZES['paper_1p8b'])
  counted = flops.generator(config, batch=1, text_length=64, text_width=4096)
  assert math.prod(config.grid) == 1536
  assert counted.forward == pytest.approx(4.916e12, rel=1e-3)


@pytest.mark.parametrize('name', generator_config.SIZES)
def test_formula_of_every_generator_size_equals_its_program(name):
  sizes = {**generator_config.SIZES[name], 'remat': 'none', 'scan': True}
  config = GeneratorConfig(**sizes)
  width = 768 if config.text_width is None else config.text_width
  counted = flops.generator(
    config, batch=2, text_length=32, text_width=width, learned_text=False
  )
  inputs = [
    _shaped(2, *config.grid, dtype=jnp.int32),
    _shaped(2, 32, width),
    _shaped(2, 32, dtype=bool),
  ]
  _assert_close(counted, _products(MaskedTransformer(config), *inputs))


@pytest.mark.parametrize('name', tokenizer_config.SIZES)
def test_formula_of_every_tokenizer_size_equals_its_program(name):
  sizes = {**tokenizer_config.SIZES[name], 'remat': 'none', 'scan': True}
  config = TokenizerConfig(**sizes)
  counted = flops.tokenizer(config, batch=2, frames=11, size=(128, 128))
  _assert_close(counted, _products(CViViT(config), _shaped(2, 11, 128, 128, 3)))


@pytest.mark.parametrize(
  ('attention', 'ports', 'width'),
  [
    (
      'factorized',
      {'memory': ['source', 'history'], 'memory_every': 2, 'story': True},
      96,
    ),
    (
      'full',
      {'canvas': True, 'patch': [2, 4, 4], 'scalars': ['fps', 'level']},
      32,
    ),
  ],
)
def test_formula_of_the_ports_equals_traced_flops(attention, ports, width):
  config = config_lib.build(
    GeneratorConfig,
    {
      'grid': (3, 4, 4),
      'codebook_size': 64,
      'num_layers': 2,
      'num_heads': 4,
      'width': width,
      'mlp_dim': 64,
      'attention': attention,
      'ports': ports,
    },
  )
  given = jax.eval_shape(
    lambda: blank(config.ports, config.grid, batch=2, text_width=48)
  )
  if attention == 'factorized':
    given = given.replace(over_time=_shaped(2, 3, dtype=bool))
  counted = flops.generator(
    config, batch=2, text_length=8, text_width=48, conditions=given
  )
  text = _shaped(2, 8, 48), _shaped(2, 8, dtype=bool)
  ids = _shaped(2, 3, 4, 4, dtype=jnp.int32)
  products = _products(
    MaskedTransformer(config), ids, *text, None, None, None, given, learned=(1,)
  )
  _assert_close(counted, products)
  without = flops.generator(config, batch=2, text_length=8, text_width=48)
  assert counted.forward > 1.03 * without.forward


@pytest.mark.parametrize(
  ('over_time', 'sizes'),
  [
    (True, {'widths': (32, 48, 64), 'attention': 2, 'blocks': 2, 'patch': 2}),
    (True, {'widths': (32, 64), 'remat': 'none', 'mlp_ratio': 4}),
    (
      False,
      {'widths': (32,), 'values': 'latents', 'channels': 4, 'prompt': 32},
    ),
    (True, {'widths': (32,), 'reads_text': False, 'degradation': 0.1}),
    (
      True,
      {
        'widths': (32, 64),
        'ports': PortsConfig(
          canvas=True,
          patch=(1, 1, 1),
          memory=('content', 'character'),
          memory_every=2,
        ),
      },
    ),
  ],
)
def test_unet_formula_equals_traced_flops(over_time, sizes):
  config = DiffusionConfig(head_dim=16, condition_width=64, **sizes)
  grid, length = (3, 16, 24), 8 + config.prompt
  given = DiffusionConditions(
    canvas=_shaped(2, *grid, config.canvas_channels),
    scalars={name: _shaped(2) for name in config.scalars},
    text=_shaped(2, length, 48) if config.reads_text else None,
    text_mask=_shaped(2, length, dtype=bool) if config.reads_text else None,
    time=_shaped(2, dtype=bool) if over_time else None,
  )
  if config.ports.is_used:
    canvas = Canvas(
      rgb=_shaped(2, *grid, 3, dtype=jnp.uint8),
      known=_shaped(2, *grid, dtype=bool),
    )
    memory = {
      role: Entries(
        values=_shaped(2, count, 96, config.image_width),
        slots=_shaped(2, count, dtype=jnp.int32),
        visible=_shaped(2, 3, count, dtype=bool),
      )
      for role, count in (('content', 1), ('character', 8))
    }
    ports = Conditions(canvas=canvas, memory=memory)
    given = given.replace(ports=ports)
  counted = unet(
    config,
    batch=2,
    grid=grid,
    text_length=8,
    text_width=48,
    over_time=over_time,
    learned_text=False,
  )
  x = _shaped(2, *grid, config.channels)
  _assert_close(counted, _products(UNet(config), x, _shaped(2), given))


@pytest.mark.parametrize('kind', ['tokenizer', 'generator', 'diffusion'])
def test_planned_flops_of_a_step_equal_its_program(kind):
  """Count the gradients of the real task, data and frozen networks included."""
  configs = pathlib.Path(__file__).parents[2] / 'configs'
  chosen = experiment.resolve(
    str(configs / kind / 'tiny.py'), PORTS if kind == 'generator' else ()
  )
  found = plan.plan(chosen, chip='v5p', num_chips=1, mfu=0.5)
  mesh = sharding.described_mesh(chosen.mesh, 1)
  run = assemble_abstract(chosen, mesh=mesh)
  program = jax.make_jaxpr(run.task.gradients)(
    run.state.params, run.frozen, run.batch, rng.described()
  )
  total = count_flops(program.jaxpr)
  assert sum(found.flops.values()) == pytest.approx(total, rel=0.01)
