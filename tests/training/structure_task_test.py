"""Depth is estimated by the frozen network, over the range of a whole clip."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.perceptual.dpt import DPT
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.pixels import normalise
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.structure_task import StructureTask, estimated
from phenaki_jax.training.tokenizer_task import TokenizerTask

MODULE = DPT(width=64, depth=4, mlp_dim=8, side=2, channels=(4,) * 4, fusion=4)


def _network():
  bits = np.random.default_rng(0)
  network = PerceptualNetwork(name='dpt', module=MODULE)
  params = jax.tree.map(
    lambda leaf: bits.normal(0.02, 0.3, leaf.shape).astype(np.float32),
    sharding.unbox(network.shapes()),
  )
  return dataclasses.replace(network, params=params)


NETWORK = _network()
PIXELS = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
COUNT = np.array([3, 2], np.int32)


def test_depth_is_that_of_each_frame_in_the_range_of_the_clip():
  found = jax.jit(estimated, static_argnums=0)(
    NETWORK, NETWORK.params, PIXELS, COUNT
  )
  depth = jax.jit(NETWORK.features)(
    NETWORK.params, normalise(jnp.asarray(PIXELS)).reshape(6, 8, 8, 3)
  )['depth']
  depth = np.asarray(depth).reshape(2, 3, 8, 8)
  for one, raw, count in zip(found, depth, COUNT, strict=True):
    low, high = raw[:count].min(), raw[:count].max()
    assert high > low
    expected = 255 * (raw[:count] - low) / (high - low)
    np.testing.assert_allclose(one[:count], expected, atol=0.51)


def test_a_checkpoint_does_not_depend_on_the_depth_network():
  tokenizer = TokenizerConfig(
    patch=(4, 4),
    tubelet=1,
    width=16,
    num_heads=2,
    mlp_dim=16,
    spatial_layers=0,
    temporal_layers=0,
  )
  boxed = jax.eval_shape(TokenizerTask(config=tokenizer).init, rng.root(0))
  task = StructureTask(
    config=GeneratorConfig(
      codebook_size=tokenizer.codebook_size,
      grid=tokenizer.grid(3, (8, 8)),
      text_width=0,
      ports=PortsConfig(canvas=True, patch=(1, 4, 4), scalars=('level',)),
    ),
    text=TextConfig(max_length=2),
    tokenizer=tokenizer,
    tokenizer_params=jax.tree.map(
      lambda leaf: np.zeros(leaf.shape, np.float32), sharding.unbox(boxed)
    ),
    training=GeneratorTaskConfig(structure_share=1.0, prediction_share=0.0),
    depth_network=NETWORK,
  )
  assert task.frozen.keys() == {*task.bound, 'depth'}
  described = jax.eval_shape(task.init_frozen, rng.root(0))
  assert jax.tree.map(np.shape, sharding.unbox(described)) == jax.tree.map(
    np.shape, task.frozen
  )
  clips = {
    'pixels': PIXELS,
    'num_frames': COUNT,
    'context_frames': np.zeros(2, np.int32),
    'text': np.ones((2, 2), np.int32),
  }
  batch = {'clips': clips}
  rows = jax.eval_shape(task.rows, task.frozen, batch, rng.described())
  assert rows.conditions.canvas.depth.shape == (2, 3, 8, 8)
