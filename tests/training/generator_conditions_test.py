"""Conditions are made of the clip's own pixels, and reach every port."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import real

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import ABSENT, Conditions
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.training.generator_conditions import enlarged, prepared
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.rows import Layout

TOKENIZER = real.TOKENIZER
CONFIG = GeneratorConfig(
  codebook_size=TOKENIZER.codebook_size,
  grid=TOKENIZER.grid(9, (8, 8)),
  width=16,
  num_layers=1,
  num_heads=2,
  mlp_dim=32,
  attention='factorized',
  ports=PortsConfig(
    canvas=True,
    patch=(2, 4, 4),
    memory=('source',),
    memory_every=1,
    scalars=('fps', 'level'),
  ),
)
TRAINING = GeneratorTaskConfig(
  prediction_share=0.0,
  canvas_animation_share=0.1,
  canvas_continuation_share=0.1,
  canvas_interpolation_share=0.2,
  canvas_region_share=0.2,
  canvas_enlarged_share=0.2,
  strides=(1, 2),
  source_share=0.5,
  time_off_clips=0.3,
  time_off_images=0.5,
)
CLIPS, IMAGES = 40, 20


@functools.cache
def _task(training=TRAINING, groups=1):
  layout = Layout(
    num_clips=CLIPS, num_images=IMAGES, length=5, groups=groups
  )
  return dataclasses.replace(
    real.generator_task(),
    config=CONFIG,
    training=training,
    layout=layout,
    fps=8.0,
  )


def _batch():
  bits = np.random.default_rng(0)
  text = bits.integers(2, 32, (CLIPS + IMAGES, 6), dtype=np.int32)
  count = np.array([9, 9, 9, 5] * (CLIPS // 4), np.int32)
  return {
    'clips': {
      'pixels': bits.integers(0, 256, (CLIPS, 9, 8, 8, 3), dtype=np.uint8),
      'text': text[:CLIPS],
      'num_frames': count,
      'context_frames': np.array([3, 0, 0, 0] * (CLIPS // 4), np.int32),
    },
    'images': {
      'pixels': bits.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8),
      'text': text[CLIPS:],
    },
  }


BATCH = _batch()


@functools.cache
def _rows(groups=1):
  task = _task(groups=groups)
  rows = jax.jit(task.rows)(task.tokenizer_params, BATCH, rng.root(0))
  return jax.tree.map(np.asarray, rows)


@pytest.fixture(scope='module')
def read():
  """Return the clips as the step reads them, and their tokens."""
  task = _task()
  batch = prepared(BATCH, TRAINING, rng.root(0), tubelet=2)
  clips = jax.jit(task.tokenized)(task.tokenizer_params, batch)['clips']
  return jax.tree.map(np.asarray, clips)


def test_without_settings_there_are_no_conditions():
  task = _task(GeneratorTaskConfig())
  plain = dataclasses.replace(
    task, config=dataclasses.replace(CONFIG, ports=PortsConfig())
  )
  shapes = jax.eval_shape(
    plain.rows, task.tokenizer_params, BATCH, jax.eval_shape(rng.root, 0)
  )
  assert shapes.conditions is None


def test_a_clip_of_a_stride_has_every_so_many_frames(read):
  strides = read['strides']
  has_context = BATCH['clips']['context_frames'] > 0
  assert (strides[has_context] == 1).all()
  assert 0.2 < (strides[~has_context] == 2).mean() < 0.8
  for i, stride in enumerate(strides):
    whole = BATCH['clips']['num_frames'][i]
    count = 1 + (whole - 1) // stride
    assert read['num_frames'][i] == count
    expected = BATCH['clips']['pixels'][i, : whole : stride]
    np.testing.assert_array_equal(read['pixels'][i, :count], expected)
    # Padding repeats the last frame.
    assert (read['pixels'][i, count:] == expected[-1]).all()


def test_the_canvas_shows_pixels_of_its_own_clip(read):
  rows = _rows()
  canvas, level = rows.conditions.canvas, rows.conditions.scalars['level']
  assert canvas.known[:CLIPS].any((1, 2, 3)).mean() > 0.5
  exact = canvas.known[:CLIPS] & (level[:CLIPS, None, None, None] == ABSENT)
  np.testing.assert_array_equal(
    canvas.rgb[:CLIPS][exact], read['pixels'][exact]
  )
  assert not canvas.rgb[~canvas.known].any()
  assert not canvas.known[CLIPS:].any(), 'rows of images have no canvas'
  # A clip with context frames shows these alone.
  context = np.arange(9)[None] < BATCH['clips']['context_frames'][:, None]
  rest = (BATCH['clips']['context_frames'] > 0)[:, None] & ~context
  assert not canvas.known[:CLIPS][rest].any()
  assert canvas.known[:CLIPS][context].any()
  # And its tokens, as without a canvas.
  assert not rows.hidden[:CLIPS:4, :2].any()
  low = np.nonzero(level > 0)[0]
  assert len(low) and (level[CLIPS:] == ABSENT).all()
  for i in low:
    wanted = enlarged(jnp.asarray(read['pixels'][i : i + 1]), 2 ** int(level[i]))
    known = canvas.known[i]
    np.testing.assert_array_equal(
      canvas.rgb[i][known], np.asarray(wanted)[0][known]
    )
    assert rows.hidden[i].any()


def test_scalars_sources_and_switches_are_those_of_their_rows(read):
  rows = _rows()
  conditions = rows.conditions
  fps = conditions.scalars['fps']
  told = fps != ABSENT
  np.testing.assert_array_equal(
    fps[:CLIPS][told[:CLIPS]], (8.0 / read['strides'])[told[:CLIPS]]
  )
  assert 0.75 < told[:CLIPS].mean() < 1 and not told[CLIPS:].any()
  source = conditions.memory['source']
  seen = source.visible.any((1, 2))
  assert (source.visible.all((1, 2)) == seen).all()
  assert 0.25 < seen[:CLIPS].mean() < 0.75 and not seen[CLIPS:].any()
  pixels = read['pixels'].reshape(-1, 1, 8, 8, 3)
  task = _task()
  stills = jax.jit(task._encode)(
    task.tokenizer_params, pixels / np.float32(127.5) - 1
  )
  stills = np.asarray(stills).reshape(CLIPS, 9, -1)
  is_own = (stills == source.values[:CLIPS]).all(-1)
  assert is_own.any(1).all()
  assert len(set(is_own.argmax(1))) > 3
  switch = conditions.over_time
  assert (switch[:CLIPS].all(1) == switch[:CLIPS].any(1)).all()
  assert 0.5 < switch[:CLIPS].mean() < 0.9
  assert 0.2 < switch[CLIPS:].mean() < 0.8


def test_conditions_go_with_their_rows_into_groups_and_micro_batches():
  one, two = _rows(1), _rows(2)
  order = two.layout.order
  assert (order != np.arange(len(order))).any()
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, b[order]),
    two.conditions,
    one.conditions,
  )
  np.testing.assert_array_equal(two.ids, one.ids[order])
  parts = jax.tree.map(np.asarray, two.divided(2))
  ids = np.concatenate([parts.ids[0], parts.ids[1]])
  fps = np.concatenate([x for x in parts.conditions.scalars['fps']])
  place = [
    int(np.nonzero((two.ids == row).all((1, 2, 3)))[0][0]) for row in ids
  ]
  np.testing.assert_array_equal(fps, two.conditions.scalars['fps'][place])


def test_every_parameter_is_trained():
  task = _task()
  bits = np.random.default_rng(1)
  boxed = jax.eval_shape(task.init, rng.root(0))
  params = jax.tree.map(
    lambda leaf: jnp.asarray(bits.normal(0, 0.3, leaf.shape), jnp.float32),
    sharding.unbox(boxed),
  )
  some = {k: v[:8] for k, v in BATCH['clips'].items()}
  small = dataclasses.replace(task, layout=None)

  @jax.jit
  def pull(params):
    loss = small.loss(params, task.tokenizer_params, {'clips': some}, rng.root(0))
    return loss[0]

  grads = jax.jit(jax.grad(pull))(params)
  still = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    if not np.any(leaf)
  ]
  assert not still


def test_what_is_enlarged_has_lost_its_detail():
  board = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
  frames = np.tile(board[None, None, :, :, None], (1, 2, 1, 1, 3))
  inner = np.asarray(enlarged(jnp.asarray(frames), 2))[0, 0, 2:6, 2:6]
  assert np.ptp(inner.astype(int)) < 40
  even = np.full_like(frames, 77)
  np.testing.assert_array_equal(enlarged(jnp.asarray(even), 4), even)


@pytest.mark.parametrize(
  ('training', 'changes', 'is_cached', 'words'),
  [
    ({'canvas_region_share': 0.2}, {}, True, 'leave data.token_cache empty'),
    ({'strides': (1, 2)}, {}, True, r'task.strides is \(1, 2\), which takes'),
    ({'canvas_region_share': 0.2}, {'canvas': False}, False, 'canvas=True'),
    ({'canvas_enlarged_share': 0.2}, {'scalars': ()}, False, "scalar 'level'"),
    ({'source_share': 0.2}, {'memory': ()}, False, "the role 'source'"),
    ({'time_off_clips': 0.1}, None, False, 'attention=factorized'),
  ],
)
def test_settings_without_their_port_are_refused(
  training, changes, is_cached, words
):
  given = GeneratorTaskConfig(**training)
  given.check(dataclasses.replace(CONFIG, attention='factorized'), is_cached=False)
  config = dataclasses.replace(CONFIG, attention='full')
  if changes is not None:
    config = dataclasses.replace(
      CONFIG, ports=dataclasses.replace(CONFIG.ports, **changes)
    )
  with pytest.raises(UserError, match=words):
    given.check(config, is_cached=is_cached)


@pytest.mark.parametrize(
  ('setting', 'sentence'),
  [
    (
      {'canvas_region_share': 0.5, 'canvas_animation_share': 0.6},
      'canvas_animation, .* add up to 1.2; they must be at most 1',
    ),
    ({'strides': ()}, 'task.strides is empty'),
    ({'strides': (0,)}, 'strides.0 is 0'),
  ],
)
def test_invalid_settings_are_refused(setting, sentence):
  with pytest.raises(UserError, match=sentence):
    GeneratorTaskConfig(**setting)


def test_conditions_are_a_tree_of_arrays_alone():
  """So that a batch of them can be split, joined and compiled."""
  leaves = jax.tree.leaves(_rows().conditions)
  assert all(leaf.shape[0] == CLIPS + 4 for leaf in leaves)
  assert jax.tree.leaves(Conditions()) == []
