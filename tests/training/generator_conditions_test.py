"""Conditions are made of the clip's own pixels, and reach every port."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import learning
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.structure import blurred
from phenaki_jax.nn.conditions import ABSENT, Conditions
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.conditions import of_pixels
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_conditions import enlarged, prepared
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.rows import Layout
from phenaki_jax.training.tokenizer_task import TokenizerTask

TOKENIZER = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=4,
  mlp_dim=32,
  spatial_layers=0,
  temporal_layers=0,
)
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
    memory=('source', 'content', 'history', 'character'),
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
  content_share=0.4,
  structure_share=0.5,
  structure_levels=3,
  time_off_clips=0.3,
  time_off_images=0.5,
)
CLIPS, IMAGES = 40, 20
STEPS = 300


TEXT = TextConfig(
  vocab_size=32,
  width=16,
  num_layers=1,
  num_heads=2,
  head_dim=8,
  mlp_dim=32,
  max_length=6,
)


@functools.cache
def _task(training=TRAINING):
  bits = np.random.default_rng(1)
  boxed = jax.eval_shape(TokenizerTask(config=TOKENIZER).init, rng.root(0))
  return GeneratorTask(
    config=CONFIG,
    text=TEXT,
    tokenizer=TOKENIZER,
    tokenizer_params=jax.tree.map(
      lambda leaf: bits.normal(0, 0.3, leaf.shape).astype(np.float32),
      sharding.unbox(boxed),
    ),
    training=training,
    layout=Layout(num_clips=CLIPS, num_images=IMAGES, length=5),
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
      'depth': bits.integers(0, 256, (CLIPS, 9, 8, 8), dtype=np.uint8),
    },
    'images': {
      'pixels': bits.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8),
      'text': text[CLIPS:],
    },
  }


BATCH = _batch()


@functools.cache
def _made():
  """Return the clips as the step reads them, with tokens, and its rows."""
  task = _task()

  @jax.jit
  def made(frozen, batch):
    own = prepared(batch, TRAINING, rng.root(0), tubelet=2)
    pixels = own['clips']['pixels']
    clips = task.tokenized(frozen, own)['clips']
    for role in ('source', 'content'):
      same = own['clips'][f'{role}_pixels'][:, None] == pixels
      clips[f'{role}_index'] = jnp.argmax(same.all((2, 3, 4)), 1)
    return clips, task.rows(frozen, batch, rng.root(0))

  return jax.tree.map(np.asarray, made(task.tokenizer_params, BATCH))


def _rows():
  return _made()[1]


@pytest.fixture(scope='module')
def read():
  """Return the clips as the step reads them, with tokens."""
  return _made()[0]


def test_without_settings_there_are_no_conditions():
  task = _task(GeneratorTaskConfig())
  plain = dataclasses.replace(
    task, config=dataclasses.replace(CONFIG, ports=PortsConfig())
  )
  shapes = jax.eval_shape(
    plain.rows, task.tokenizer_params, BATCH, rng.described()
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
    expected = BATCH['clips']['pixels'][i, :whole:stride]
    np.testing.assert_array_equal(read['pixels'][i, :count], expected)
    # Padding repeats the last frame.
    assert (read['pixels'][i, count:] == expected[-1]).all()
    # The depth is that of the same frames.
    depth = BATCH['clips']['depth'][i, :whole:stride]
    np.testing.assert_array_equal(read['depth'][i, :count], depth)


def test_the_canvas_shows_pixels_of_its_own_clip(read):
  rows = _rows()
  canvas, level = rows.conditions.canvas, rows.conditions.scalars['level']
  assert canvas.known[:CLIPS].any((1, 2, 3)).mean() > 0.5
  has_level = (level != ABSENT) & ~canvas.has_depth.any((1, 2, 3))
  exact = canvas.known[:CLIPS] & ~has_level[:CLIPS, None, None, None]
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
  low = np.nonzero(has_level)[0]
  assert len(low) and (level[CLIPS:] == ABSENT).all()
  for i in low:
    wanted = enlarged(
      jnp.asarray(read['pixels'][i : i + 1]), 2 ** int(level[i])
    )
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
  assert 0.7 < told[:CLIPS].mean() < 1 and not told[CLIPS:].any()
  for role in ('source', 'content'):
    image = conditions.memory[role]
    seen = image.visible.any((1, 2))
    assert (image.visible.all((1, 2)) == seen).all()
    assert 0.2 < seen[:CLIPS].mean() < 0.75 and not seen[CLIPS:].any()
    # Its tokens are those of a frame of the clip, of the first as of others.
    own = read[role].reshape(CLIPS, -1)
    np.testing.assert_array_equal(image.values[:CLIPS, 0], own)
    is_first = (read['tokens'][:, 0].reshape(CLIPS, -1) == own).all(1)
    np.testing.assert_array_equal(is_first, read[f'{role}_index'] == 0)
    assert len(set(read[f'{role}_index'])) > 3
  switch = conditions.over_time
  assert (switch[:CLIPS].all(1) == switch[:CLIPS].any(1)).all()
  assert 0.5 < switch[:CLIPS].mean() < 0.9
  assert 0.2 < switch[CLIPS:].mean() < 0.8


def test_depth_is_that_of_the_clip_blurred_to_the_level(read):
  """It is shown in all frames, also beside known pixels and context frames."""
  rows = _rows()
  canvas, level = rows.conditions.canvas, rows.conditions.scalars['level']
  shown = canvas.has_depth.any((1, 2, 3))
  assert 0.2 < shown[:CLIPS].mean() < 0.7 and not shown[CLIPS:].any()
  is_real = np.arange(9)[None] < read['num_frames'][:, None]
  np.testing.assert_array_equal(
    canvas.has_depth[:CLIPS],
    np.broadcast_to(
      (is_real & shown[:CLIPS, None])[:, :, None, None], (CLIPS, 9, 8, 8)
    ),
  )
  assert set(level[shown]) == {0, 1, 2, 3}
  wanted = blurred(
    jnp.asarray(read['depth'] / 255, jnp.float32), jnp.asarray(level[:CLIPS])
  )
  np.testing.assert_allclose(
    canvas.depth[:CLIPS],
    np.where(canvas.has_depth[:CLIPS], wanted, 0),
    atol=1e-6,
  )
  assert (shown[:CLIPS] & canvas.known[:CLIPS].any((1, 2, 3))).any()
  assert (shown[:CLIPS] & (BATCH['clips']['context_frames'] > 0)).any()


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
    ({'content_share': 0.2}, {'memory': ()}, False, "the role 'content'"),
    ({'content_share': 0.2}, {}, True, 'task.content_share is 0.2, which'),
    ({'structure_share': 0.2}, {}, True, 'leave data.token_cache empty'),
    ({'structure_share': 0.2}, {'canvas': False}, False, 'canvas=True'),
    ({'structure_share': 0.2}, {'scalars': ()}, False, "scalar 'level'"),
    ({'history_share': 0.2}, {'memory': ()}, False, "the role 'history'"),
    ({'character_share': 0.2}, {'memory': ()}, False, "the role 'character'"),
    ({'time_off_clips': 0.1}, None, False, 'attention=factorized'),
  ],
)
def test_settings_without_their_port_are_refused(
  training, changes, is_cached, words
):
  given = GeneratorTaskConfig(**training)
  given.check(
    dataclasses.replace(CONFIG, attention='factorized'), is_cached=False
  )
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
    ({'structure_levels': 8}, 'structure_levels is 8'),
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


# Eight columns and two rows of patches, one of which is coloured and moves
# along its row. All tokens depend on their own patch alone.
WORLD = learning.TOKENIZER
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
# Colour, row, first column and steps to the right between two frames.
MOTIONS = np.array(
  [
    (colour, row, start, motion)
    for colour, row, start, motion in np.ndindex(3, 2, 8, 3)
    if 0 <= start + 4 * (motion - 1) < 8
  ]
)
MOTIONS[:, 3] -= 1
IS_HELD_OUT = MOTIONS.sum(1) % 4 == 0


def _films(motions):
  """Draw five frames of each motion, uint8 [B, 5, 8, 32, 3]."""
  films = np.zeros((len(motions), 5, 2, 4, 8, 4, 3), np.uint8)
  for film, (colour, row, start, motion) in zip(films, motions, strict=True):
    for time, frame in enumerate(film):
      frame[row, :, start + motion * time] = COLOURS[colour]
  return films.reshape(-1, 5, 8, 32, 3)


@pytest.mark.slow
def test_frames_on_the_canvas_alone_are_interpolated():
  """Of motions that training did not have; without a canvas it is chance."""
  text = dataclasses.replace(TEXT, max_length=2)
  task = GeneratorTask(
    config=GeneratorConfig(
      codebook_size=WORLD.codebook_size,
      code_levels=WORLD.code_levels,
      grid=WORLD.grid(5, (8, 32)),
      width=64,
      num_layers=3,
      num_heads=4,
      mlp_dim=128,
      attention='factorized',
      text_width=0,
      ports=PortsConfig(canvas=True, patch=(1, 4, 4)),
    ),
    text=text,
    tokenizer=WORLD,
    tokenizer_params=sharding.unbox(
      jax.jit(TokenizerTask(config=WORLD).init)(rng.root(2))
    ),
    training=GeneratorTaskConfig(
      prediction_share=0.0, canvas_interpolation_share=0.9
    ),
  )
  trained = MOTIONS[~IS_HELD_OUT]

  def draw(bits):
    return {
      'pixels': _films(trained[bits.integers(0, len(trained), 32)]),
      'text': np.tile(np.array([1, 0], np.int32), (32, 1)),
      'num_frames': np.full(32, 5, np.int32),
      'context_frames': np.zeros(32, np.int32),
    }

  vocabulary = SentencePieceVocabulary.learn(['a film'], 32)
  sampler = learning.train(task, draw, steps=STEPS, vocabulary=vocabulary)
  # Of films that stand still, the first frame would tell all others.
  films = _films(MOTIONS[IS_HELD_OUT & (MOTIONS[:, 3] != 0)])
  ids = sampler.encode(films)
  background = sampler.encode(np.zeros_like(films[:1, :1])).max()
  assert ((ids != background).sum((2, 3)) == 1).all()
  assert len(np.unique(ids)) == 4, 'each colour has a token of its own'
  settings = SamplingSettings(
    steps=20, order='random', guidance=0.0, temperature=0.0
  )

  def share(made):
    """Return the share of the films whose middle frames are all exact."""
    return float((made[:, 1:4] == ids[:, 1:4]).all((1, 2, 3)).mean())

  def right(skip):
    """Show every so many frames on the canvas; 0: no canvas."""
    conditions = None
    if skip:
      known = np.zeros(films.shape[:-1], bool)
      known[:, ::skip] = True
      conditions = of_pixels(task.config.ports, films, known)
    state = sampler.uncover(
      ['a film'] * len(films),
      ids=np.zeros_like(ids),
      known=np.zeros(ids.shape, bool),
      seeds=range(len(films)),
      settings=settings,
      conditions=conditions,
    )
    return share(np.asarray(state.ids).reshape(ids.shape))

  time = np.linspace(0, 1, 5)[:, None, None, None]
  blend = np.rint((1 - time) * films[:, :1] + time * films[:, -1:])
  found = {
    **{f'every {skip}th frame': right(skip) for skip in (2, 3, 4)},
    'no canvas': right(0),
    'hold first': share(np.repeat(ids[:, :1], 5, axis=1)),
    'linear blend': share(sampler.encode(blend.astype(np.uint8))),
  }
  print(found)
  shown, plain = list(found.values())[:3], list(found.values())[3:]
  assert min(shown) > 0.8 and max(plain) < 0.1, found
