"""The generator's rows, prefixes, texts, loss and frozen tokenizer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.nn.attention import Packing
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.metrics import fetched, finalise
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.reencoding import encode_pixels
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import compile_step, make_step
from phenaki_jax.training.tokenizer_task import TokenizerTask

TOKENIZER = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=2,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=1,
  fsq_levels=(4, 3),
)
TEXT = TextConfig(
  vocab_size=32,
  width=12,
  num_layers=1,
  num_heads=2,
  head_dim=8,
  mlp_dim=24,
  max_length=5,
)
CONFIG = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=1,
  num_heads=2,
  mlp_dim=32,
)


def _drawn(boxed, seed):
  """Draw every parameter, as those that start at zero could hide errors."""
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(boxed),
  )


@functools.cache
def _frozen():
  task = TokenizerTask(config=TOKENIZER)
  return _drawn(jax.eval_shape(task.init, rng.root(0)), 0)


def _task(**training):
  return GeneratorTask(
    config=CONFIG,
    text=TEXT,
    tokenizer=TOKENIZER,
    tokenizer_params=_frozen(),
    training=GeneratorTaskConfig(**training),
  )


@functools.cache
def _params():
  return _drawn(jax.eval_shape(_task().init, rng.root(0)), 1)


def _batch(clips=4, images=4, seed=0):
  generator = np.random.default_rng(seed)

  def pixels(*shape):
    return generator.integers(0, 256, (*shape, 8, 8, 3)).astype(np.uint8)

  def text(number):
    ids = generator.integers(3, 32, (number, 5)).astype(np.int32)
    length = generator.integers(1, 5, (number, 1))
    ids = np.where(np.arange(5) < length, ids, 0)
    return np.where(np.arange(5) == length, 1, ids).astype(np.int32)

  batch = {
    'clips': {
      'pixels': pixels(clips, 5),
      'text': text(clips),
      'num_frames': np.array([5, 5, 3, 3], np.int32)[:clips],
      'context_frames': np.array([0, 3, 0, 1], np.int32)[:clips],
    },
    'images': {'pixels': pixels(images), 'text': text(images)},
  }
  sizes = {'clips': clips, 'images': images}
  return {name: part for name, part in batch.items() if sizes[name]}


def _rows(task, batch, seed=0):
  rows = jax.jit(task.rows)(_frozen(), batch, rng.root(seed))
  return jax.tree.map(np.asarray, rows)


@pytest.fixture(scope='module')
def many_rows():
  """Make the rows of one batch with many keys."""
  task, batch = _task(prediction_share=0.5, prediction_frames=3), _batch()
  keys = jax.vmap(lambda i: jax.random.fold_in(rng.root(0), i))(jnp.arange(200))
  rows = jax.jit(jax.vmap(task.rows, (None, None, 0)))(_frozen(), batch, keys)
  return batch, jax.tree.map(np.asarray, rows)


def test_rows_hold_the_tokens_of_clips_and_then_of_images(many_rows):
  batch, rows = many_rows
  assert rows.ids.shape == (200, 6, 3, 2, 2)
  assert rows.layout.num_clips == 4
  encode = jax.jit(functools.partial(encode_pixels, _task().tokenizer))
  clips = encode(_frozen(), batch['clips']['pixels'] / np.float32(127.5) - 1)
  images = batch['images']['pixels'][:, None] / np.float32(127.5) - 1
  images = np.asarray(encode(_frozen(), images))[:, 0]
  assert len(np.unique(clips)) > 3
  np.testing.assert_array_equal(rows.ids[0, :4], clips)
  np.testing.assert_array_equal(rows.ids[0, 4:].reshape(6, 2, 2)[:4], images)
  assert (rows.ids == rows.ids[:1]).all(), 'tokens do not depend on the key'


def test_rows_hold_segments_and_each_text_once(many_rows):
  batch, rows = many_rows
  clips, images = batch['clips']['text'], batch['images']['text']
  for row, segments in enumerate(
    # Four clips, of which two are short; three images and one.
    [[0, 0, 0], [0, 0, 0], [0, 0, -1], [0, 0, -1], [0, 1, 2], [0, -1, -1]]
  ):
    np.testing.assert_array_equal(rows.segments[0, row], segments)
  np.testing.assert_array_equal(rows.texts[0], np.concatenate([clips, images]))
  # A clip has one text, and a row of images one for each latent frame.
  assert rows.layout.packing == Packing(packed=2)
  np.testing.assert_array_equal(
    rows.layout.text_order, [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]
  )


def test_known_and_padding_latent_frames_are_never_hidden(many_rows):
  _, rows = many_rows
  hidden = rows.hidden.any((3, 4))
  # Clip 1 knows 3 frames, clip 3 knows 1; clips 2 and 3 have 3 real frames.
  assert not hidden[:, 1, :2].any()
  assert not hidden[:, 3, :1].any()
  assert not hidden[:, 2:4, 2].any()
  assert not hidden[:, 5, 1:].any()
  # All other latent frames are hidden with some key, and some with every key.
  may = np.array(
    [[1, 1, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]], bool
  )
  np.testing.assert_array_equal(hidden.any(0), may)
  assert hidden[:, :4].any(2).all()
  assert hidden[:, 4].all(), 'every image has hidden tokens'


def test_a_share_of_the_clips_is_continued(many_rows):
  _, rows = many_rows
  # With a prefix of 3 frames, clip 0 has its last latent frame left to predict
  # and clip 2 its second.
  whole = rows.hidden[:, 0, :2].any((1, 2, 3))
  continued = _task(prediction_share=1.0, prediction_frames=3)
  never = _task(prediction_share=0.0)
  assert not _rows(continued, _batch()).hidden[0, :2].any()
  assert not _rows(continued, _batch()).hidden[2, 0].any()
  assert 0.2 < whole.mean() < 0.7
  drawn = [
    _rows(never, _batch(), seed).hidden[0, :2].any() for seed in range(2)
  ]
  assert any(drawn)


@pytest.mark.parametrize('first_frame', ['apart', 'repeated'])
def test_reencoded_contexts_are_those_of_the_sampler(first_frame):
  tokenizer = dataclasses.replace(TOKENIZER, first_frame=first_frame)
  frozen = _drawn(
    jax.eval_shape(TokenizerTask(config=tokenizer).init, rng.root(0)), 0
  )
  sampler = Sampler(
    models=Models(tokenizer=tokenizer, generator=CONFIG, text=TEXT),
    tokenizer_params=frozen,
    generator_params=None,
    vocabulary=SentencePieceVocabulary.learn(['a red ball'], 32),
  )
  batch = _batch(images=0)

  def ids(share):
    task = dataclasses.replace(
      _task(reencoded_context=share), tokenizer=tokenizer
    )
    return np.asarray(jax.jit(task.rows)(frozen, batch, rng.root(0)).ids)

  plain, again = ids(0.0), ids(1.0)
  changed = 0
  for row, frames in enumerate(batch['clips']['context_frames']):
    latent = 1 + (frames - 1) // 2 if frames else 0
    np.testing.assert_array_equal(again[row, latent:], plain[row, latent:])
    if frames:
      context = batch['clips']['pixels'][row : row + 1, :frames]
      shown = sampler.decode(sampler.encode(context))
      expected = sampler.encode(shown)[0]
      np.testing.assert_array_equal(again[row, :latent], expected)
      changed += (expected != plain[row, :latent]).sum()
  assert changed > 0


def test_a_share_of_the_contexts_is_encoded_again():
  batch = jax.tree.map(
    lambda x: np.tile(x[1:2], (40, *[1] * (x.ndim - 1))), _batch(images=0)
  )
  plain, some, whole = (
    _rows(_task(reencoded_context=share), batch) for share in (0.0, 0.5, 1.0)
  )
  is_whole = (some.ids == whole.ids).all((1, 2, 3))
  is_plain = (some.ids == plain.ids).all((1, 2, 3))
  assert (is_whole ^ is_plain).all()
  assert 8 < is_whole.sum() < 32
  # The other draws are the same.
  np.testing.assert_array_equal(some.hidden, plain.hidden)


def test_shares_differ_within_a_batch(many_rows):
  _, rows = many_rows
  counts = rows.hidden.sum((2, 3, 4))
  assert (counts[:, 0] != counts[:, 4]).mean() > 0.3
  images = rows.hidden[:, 4].sum((2, 3))
  assert (images[:, 0] != images[:, 1]).mean() > 0.3


def _predict_alone(task, rows):
  """Predict each clip and each image alone; return the logits [R, t, ...].

  Latent frames without tokens keep zeros.
  """

  @jax.jit
  def alone(params, text, ids, frames_at):
    encoded = task.generator.encode(params, text)
    return task.generator.logits(params, ids, encoded, frames_at=frames_at)

  clips, order = rows.layout.num_clips, rows.layout.text_order
  index = np.concatenate(
    [order[:clips, None].repeat(3, 1), order[clips:].reshape(-1, 3)]
  )
  logits = np.zeros((*rows.ids.shape, CONFIG.codebook_size), np.float32)
  for row, segments in enumerate(rows.segments):
    for segment in set(segments) - {-1}:
      (own,) = np.nonzero(segments == segment)
      text = rows.texts[index[row, own[0]]][None]
      shown = np.where(rows.hidden, CONFIG.codebook_size, rows.ids)[row, own]
      places = rows.frames_at[row, own]
      logits[row, own] = alone(_params(), text, shown[None], places[None])[0]
  return logits


@pytest.mark.parametrize(('clips', 'images'), [(3, 0), (0, 4), (3, 4)])
def test_rows_equal_clips_and_images_alone(clips, images):
  """Compare the logits, and the resulting loss."""
  task = _task(text_dropout=0.0)
  batch = _batch(clips=clips, images=images)
  rows = _rows(task, batch)
  assert rows.ids.shape == (clips + (2 if images else 0), 3, 2, 2)
  assert rows.texts.shape == (clips + images, 5)
  expected = _predict_alone(task, rows)
  real = rows.segments >= 0
  logits = np.asarray(_logits(_params(), rows))
  np.testing.assert_allclose(logits[real], expected[real], atol=1e-5)
  loss, alone = (
    token_loss(*map(jnp.asarray, (found, rows.ids, rows.hidden)))
    for found in (logits, expected)
  )
  assert float(loss.total) == pytest.approx(float(alone.total), rel=1e-5)
  assert float(loss.count) == float(alone.count) > 4


@pytest.mark.parametrize(
  ('setting', 'sentence'),
  [
    ({'text_dropout': 1.5}, 'text_dropout is 1.5, but it must be less than or'),
    ({'prediction_frames': 0}, 'prediction_frames is 0'),
    ({'reencoded_context': -0.1}, 'reencoded_context is -0.1'),
    ({'schedule': 'sine'}, "schedule is 'sine', but it must be 'cosine'"),
    (
      {'prediction_share': 0.5, 'inpainting_share': 0.6},
      'inpainting, outpainting\\) add up to 1.1; they must be at most 1',
    ),
  ],
)
def test_invalid_settings_are_refused(setting, sentence):
  with pytest.raises(ValueError, match=sentence):
    GeneratorTaskConfig(**setting)


def test_images_take_any_index_where_clips_share_their_tokens():
  """Images of 'apart' are first frames; those of 'repeated' any frame."""
  tokenizer = dataclasses.replace(TOKENIZER, first_frame='repeated')
  task = dataclasses.replace(_task(), tokenizer=tokenizer)
  frozen = _drawn(
    jax.eval_shape(TokenizerTask(config=tokenizer).init, rng.root(0)), 0
  )
  batch = jax.tree.map(jnp.asarray, _batch(images=48))

  def image_rows(task, frozen):
    rows = jax.jit(task.rows)(frozen, batch, rng.root(0))
    np.testing.assert_array_equal(rows.frames_at[:4], [[0, 1, 2]] * 4)
    return rows

  assert not image_rows(_task(), _frozen()).frames_at[4:].any()
  rows = image_rows(task, frozen)
  counts = np.bincount(np.asarray(rows.frames_at[4:]).reshape(-1))
  assert counts.sum() == 48 and counts.min() > 8

  read = jax.jit(functools.partial(task.logits, deterministic=True))
  logits = [
    read(_params(), each, rng.root(0))
    for each in (rows, rows.replace(frames_at=0 * rows.frames_at))
  ]
  moved = np.abs(logits[0] - logits[1]).max((2, 3, 4)) > 1e-4
  np.testing.assert_array_equal(moved[4:], rows.frames_at[4:] > 0)


def _loss(dropout, params, batch, seed):
  task = _task(text_dropout=dropout, prediction_share=0.0)
  key = jax.random.fold_in(rng.root(0), seed)
  return task.loss(params, _frozen(), batch, key)


_value = jax.jit(_loss, static_argnums=0)
_grads = jax.jit(jax.value_and_grad(_loss, 1, has_aux=True), static_argnums=0)


@jax.jit
def _logits(params, rows):
  task = _task(text_dropout=0.0)
  return task.logits(params, rows, rng.root(0))


def _run(batch, seed=0):
  (loss, metrics), grads = _grads(0.0, _params(), batch, seed)
  return float(loss), finalise(fetched(metrics)), grads


def test_the_loss_is_the_mean_over_hidden_tokens_of_both_kinds():
  loss, metrics, _ = _run(_batch())
  task = _task(text_dropout=0.0, prediction_share=0.0)
  key = jax.random.fold_in(rng.root(0), 0)
  rows = jax.tree.map(np.asarray, jax.jit(task.rows)(_frozen(), _batch(), key))
  logits = np.asarray(_logits(_params(), rows), np.float64)
  log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  nll = -np.take_along_axis(log_probability, rows.ids[..., None], -1)[..., 0]
  clips, images = rows.hidden.copy(), rows.hidden.copy()
  clips[rows.layout.num_clips :], images[: rows.layout.num_clips] = False, False
  assert loss == pytest.approx(nll[rows.hidden].mean(), rel=1e-4)
  assert metrics['loss'] == pytest.approx(loss, rel=1e-5)
  assert metrics['loss_clips'] == pytest.approx(nll[clips].mean(), rel=1e-4)
  assert metrics['loss_images'] == pytest.approx(nll[images].mean(), rel=1e-4)
  right = logits.argmax(-1) == rows.ids
  assert metrics['accuracy'] == pytest.approx(right[rows.hidden].mean())


def test_the_balance_changes_what_is_minimised_and_no_metric():
  batch = _batch(clips=2, images=4)

  def run(**training):
    task = _task(text_dropout=0.0, prediction_share=0.0, **training)
    loss, metrics = jax.jit(task.loss)(_params(), _frozen(), batch, rng.root(0))
    return float(loss), finalise(fetched(metrics))

  loss, metrics = run()
  # 'examples' is the mean over examples of each example's own mean.
  balanced, same = run(balance='examples')
  assert same == pytest.approx(metrics, rel=1e-6)
  rows = _rows(_task(prediction_share=0.0), batch)
  true = jax.nn.one_hot(rows.ids, CONFIG.codebook_size)
  nll = -(true * jax.nn.log_softmax(_logits(_params(), rows))).sum(-1)
  mean = np.average(nll, weights=np.where(rows.hidden, rows.weights, 0))
  assert balanced == pytest.approx(mean, rel=1e-4)
  assert balanced != pytest.approx(loss, rel=1e-4)


def test_padding_frames_change_neither_loss_nor_gradient():
  batch, other = _batch(), _batch()
  other['clips']['pixels'][2:, 3:] = 255 - other['clips']['pixels'][2:, 3:]
  loss, metrics, grads = _run(batch)
  other_loss, other_metrics, other_grads = _run(other)
  assert other_loss == pytest.approx(loss, rel=1e-6)
  assert other_metrics == pytest.approx(metrics, rel=1e-6)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    other_grads,
    grads,
  )
  other['clips']['pixels'][0, 3:] = 255 - other['clips']['pixels'][0, 3:]
  assert _run(other)[0] != loss


def test_every_parameter_is_trained_and_the_tokenizer_is_not():
  before = jax.tree.map(np.array, _frozen())
  _, _, grads = _run(_batch())
  assert set(grads) == {'text', 'generator'}
  still = [
    path
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    if not np.any(leaf)
  ]
  assert not still
  task = _task()
  assert task.frozen is _frozen()
  jax.tree.map(np.testing.assert_array_equal, before, task.frozen)
  pull = jax.jit(
    jax.grad(lambda frozen, *rest: task.loss(_params(), frozen, *rest)[0])
  )
  frozen_grads = pull(_frozen(), _batch(), rng.root(0))
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(frozen_grads))


def test_dropped_texts_are_the_empty_caption():
  def loss(dropout, batch, seed=0):
    return float(_value(dropout, _params(), batch, seed)[0])

  batch, empty = _batch(), _batch()
  for part in empty.values():
    part['text'] = np.tile(np.array([1, 0, 0, 0, 0], np.int32), (4, 1))
  dropped = loss(1.0, batch)
  assert dropped == pytest.approx(loss(1.0, empty), rel=1e-6)
  assert dropped == pytest.approx(loss(0.5, empty), rel=1e-5)
  assert dropped != pytest.approx(loss(0.5, batch), rel=1e-4)


def test_only_known_tokens_are_read():
  rows = _rows(_task(), _batch())
  expected = _logits(_params(), rows)
  hidden = rows.replace(ids=np.where(rows.hidden, 11 - rows.ids, rows.ids))
  np.testing.assert_array_equal(_logits(_params(), hidden), expected)
  shown = rows.replace(ids=np.where(rows.hidden, rows.ids, 11 - rows.ids))
  assert (_logits(_params(), shown) != expected).any()


@pytest.mark.parametrize('rates', [(0.9, 0.0), (0.0, 0.5)])
def test_evaluation_keeps_all_texts_and_drops_nothing(rates):
  rows = _rows(_task(), _batch())
  config = dataclasses.replace(CONFIG, dropout=rates[1])
  dropping = dataclasses.replace(_task(text_dropout=rates[0]), config=config)
  kept, dropped = (
    jax.jit(functools.partial(dropping.logits, deterministic=deterministic))(
      _params(), rows, rng.root(0)
    )
    for deterministic in (True, False)
  )
  np.testing.assert_allclose(kept, _logits(_params(), rows), atol=1e-6)
  assert np.abs(kept - dropped).max() > 1e-3


def test_it_overfits_one_batch():
  task = dataclasses.replace(
    _task(text_dropout=0.0, prediction_share=0.0),
    config=dataclasses.replace(CONFIG, width=32, mlp_dim=64),
  )
  optimizer = make_optimizer(
    OptimConfig(learning_rate=1e-2, warmup_steps=5, decay='constant'),
    steps=100,
    params=boxed_params(task),
  )
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=1), devices=jax.devices()[:1]
  )
  abstract = abstract_state(task, optimizer, mesh)
  state = create_state(task, optimizer, abstract, rng.root(0))
  step = compile_step(make_step(task, optimizer, ema_decay=0.9), abstract)
  before = jax.tree.map(np.array, _frozen())
  losses = []
  for _ in range(80):
    state, metrics = step(state, _batch(), rng.root(1), _frozen())
    losses.append(finalise(fetched(metrics))['loss'])
  unigram = np.log(12)
  assert np.mean(losses[:3]) > 0.7 * unigram
  assert np.mean(losses[-10:]) < 0.25 * unigram, losses[::10]
  jax.tree.map(np.testing.assert_array_equal, before, _frozen())
