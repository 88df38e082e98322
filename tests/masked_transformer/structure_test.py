"""Blurred depth has lost what its level says, and a network reads it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.masked_transformer.structure import (
  MAX_LEVEL,
  blurred,
  with_structure,
)
from phenaki_jax.nn.conditions import Canvas, Conditions, Entries, blank
from phenaki_jax.nn.config import PortsConfig

DEPTH = np.random.default_rng(0).random((8, 2, 16, 12)).astype(np.float32)
LEVELS = np.arange(MAX_LEVEL + 1, dtype=np.float32)


def test_a_level_takes_detail_and_keeps_what_is_even():
  same = np.repeat(DEPTH[:1], 8, 0)
  soft = np.asarray(blurred(jnp.asarray(same), jnp.asarray(LEVELS)))
  np.testing.assert_array_equal(soft[0], same[0])
  detail = np.abs(np.diff(soft, axis=-1)).mean((1, 2, 3))
  assert (np.diff(detail) <= 1e-6).all() and (
    detail[:4] > 1.5 * detail[1:5]
  ).all()
  # Nothing is left within a frame of 16 pixels at a level of 4.
  assert np.ptp(soft[4:], axis=(2, 3)).max() < 1e-6
  # The frames of a clip are not mixed.
  alone = blurred(jnp.asarray(same[:, 1:]), jnp.asarray(LEVELS))
  np.testing.assert_allclose(soft[:, 1:], alone, atol=1e-6)
  even = np.full_like(DEPTH, 0.3)
  np.testing.assert_allclose(
    blurred(jnp.asarray(even), jnp.asarray(LEVELS)), even, atol=1e-6
  )


def test_what_is_lost_does_not_come_back():
  """Two depths with the same averages are the same at a level."""
  board = np.indices((16, 16)).sum(0) % 2
  depths = np.stack([board, 1 - board])[:, None].astype(np.float32)
  soft = np.asarray(blurred(jnp.asarray(depths), jnp.full(2, 3.0)))
  assert np.abs(soft[0] - soft[1]).max() < 0.02


def test_frames_that_are_not_shown_have_no_depth():
  canvas = Canvas(
    rgb=jnp.zeros((8, 2, 16, 12, 3), jnp.uint8),
    known=jnp.zeros((8, 2, 16, 12), bool),
  )
  shown = np.zeros((8, 2), bool)
  shown[3, 1] = True
  made = with_structure(
    canvas, jnp.asarray(DEPTH), jnp.zeros(8), jnp.asarray(shown)
  )
  np.testing.assert_array_equal(made.depth[3, 1], DEPTH[3, 1])
  assert float(made.depth.sum()) == float(made.depth[3, 1].sum())
  np.testing.assert_array_equal(made.has_depth.all((2, 3)), shown)


def test_depth_level_and_content_matter_after_a_step_and_not_before():
  config = GeneratorConfig(
    codebook_size=12,
    grid=(2, 2, 2),
    width=16,
    num_layers=1,
    num_heads=2,
    mlp_dim=32,
    text_width=0,
    ports=PortsConfig(
      canvas=True,
      patch=(1, 4, 4),
      memory=('content',),
      memory_every=1,
      scalars=('level',),
    ),
  )
  bits = np.random.default_rng(0)
  ids = jnp.asarray(bits.integers(0, 13, (2, 2, 2, 2)), jnp.int32)
  wanted = jnp.asarray(bits.integers(0, 12, (2, 2, 2, 2)), jnp.int32)
  inputs = (ids, jnp.zeros((2, 1, 0)), jnp.ones((2, 1), bool))
  network = MaskedTransformer(config)
  empty = blank(config.ports, config.grid, batch=2)
  params = sharding.unbox(
    jax.jit(network.init)(
      jax.random.key(0, impl='unsafe_rbg'), *inputs, conditions=empty
    )
  )

  def seen(*, level=0.0, has_depth=True, has_content=True, order=(0, 1, 2, 3)):
    depth = jnp.asarray(DEPTH[:2, :, :8, :8])
    shown = jnp.full((2, 2), has_depth)
    levels = jnp.full(2, level)
    tokens = np.array([[[1, 2, 3, 4]], [[5, 6, 6, 7]]], np.int32)
    content = Entries(
      values=jnp.asarray(tokens[..., list(order)]),
      slots=jnp.zeros((2, 1), jnp.int32),
      visible=jnp.full((2, 2, 1), has_content),
    )
    return Conditions(
      canvas=with_structure(empty.canvas, depth, levels, shown),
      memory={'content': content},
      scalars={'level': levels},
    )

  def loss(params, conditions):
    logits = network.apply(params, *inputs, conditions=conditions)
    scores = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(scores, wanted[..., None], -1).mean(), logits

  step = jax.jit(jax.value_and_grad(loss, has_aux=True))
  nothing = seen(has_depth=False, has_content=False)
  plain = step(params, nothing)[0][1]
  for conditions in (seen(), seen(level=2.0)):
    (_, logits), slopes = step(params, conditions)
    np.testing.assert_array_equal(logits, plain)
  # The second step reaches the layers behind those that start at zero.
  for _ in range(2):
    params = jax.tree.map(lambda x, slope: x - 4.0 * slope, params, slopes)
    slopes = step(params, seen())[1]
  after = step(params, seen())[0][1]
  for other in (
    seen(level=2.0),
    seen(has_depth=False),
    seen(has_content=False),
    # The level alone, beside the same canvas.
    dataclasses.replace(seen(), scalars=seen(level=2.0).scalars),
  ):
    assert np.abs(after - step(params, other)[0][1]).max() > 1e-4
  # What is in the content matters, and not where.
  moved = step(params, seen(order=(2, 0, 3, 1)))[0][1]
  np.testing.assert_allclose(after, moved, atol=2e-5)
  # An image that no frame sees is none, to the last bit.
  hidden = step(params, seen(has_content=False, order=(1, 1, 1, 1)))[0][1]
  np.testing.assert_array_equal(
    hidden, step(params, seen(has_content=False))[0][1]
  )
