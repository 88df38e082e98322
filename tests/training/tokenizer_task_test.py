"""The tokenizer's loss counts real frames only, and each frame once."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from flax import linen as nn

from phenaki_jax import rng, sharding
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.pixels import normalise
from phenaki_jax.tokenizer.adversarial import AdversaryConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.tokenizer.losses import (
  PAPER,
  CodebookConfig,
  TokenizerLossWeights,
  detail_weights,
)
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.metrics import fetched, finalise
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import compile_step, make_step
from phenaki_jax.training.tokenizer_task import TokenizerTask

CONFIG = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=2,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=1,
  quantizer='vq',
  vq_codes=32,
  vq_dim=4,
)
WEIGHTS = TokenizerLossWeights(
  l2=1.0, l1=0.5, edge=0.25, detail=0.75, quantizer=2.0
)
TASK = TokenizerTask(config=CONFIG, weights=WEIGHTS)


def _batch(clips=2, images=3, seed=0):
  generator = np.random.default_rng(seed)

  def pixels(*shape):
    return generator.integers(0, 256, (*shape, 8, 8, 3)).astype(np.uint8)

  batch = {
    'clips': {
      'pixels': pixels(clips, 5),
      'text': np.ones((clips, 4), np.int32),
      'num_frames': np.array([3, 5], np.int32)[:clips],
      'context_frames': np.zeros(clips, np.int32),
    },
    'images': {
      'pixels': pixels(images),
      'text': np.ones((images, 4), np.int32),
    },
  }
  sizes = {'clips': clips, 'images': images}
  return {name: part for name, part in batch.items() if sizes[name]}


def _drawn(task):
  """Draw every parameter, as those that start at zero could hide errors."""
  boxed = boxed_params(task)
  generator = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: np.float32(
      generator.normal(size=leaf.shape) / max(*leaf.shape[:1], 1, 1) ** 0.5
    ),
    sharding.unbox(boxed),
  )


@functools.cache
def _params():
  return _drawn(TASK)


@functools.partial(jax.jit, static_argnums=0)
def _grads(task, params, batch):
  def loss(params):
    return task.loss(params, {}, batch, rng.root(0))

  return jax.value_and_grad(loss, has_aux=True)(params)


def _run(batch):
  (loss, metrics), grads = _grads(TASK, _params(), batch)
  return float(loss), finalise(fetched(metrics)), grads


@jax.jit
def _loss(params, batch):
  return TASK.loss(params, {}, batch, rng.root(0))


@jax.jit
def _outputs(params, pixels):
  pixels = normalise(pixels)
  return pixels, CViViT(CONFIG).apply({'params': params}, pixels)


def _naive(batch):
  """Average each term over real frames, in numpy, example by example."""
  names = ('l2', 'l1', 'edge', 'detail', 'quantizer')
  terms = {name: [] for name in names}
  for name, part in batch.items():
    pixels = part['pixels'] if name == 'clips' else part['pixels'][:, None]
    pixels, output = jax.tree.map(np.asarray, _outputs(_params(), pixels))
    detail = np.asarray(detail_weights(jnp.asarray(pixels)))
    valid = part.get('num_frames', np.ones(len(pixels), int))
    for row, frames in enumerate(valid):
      for frame in range(frames):
        error = output.reconstruction[row, frame] - pixels[row, frame]
        terms['l2'].append((error**2).mean())
        terms['l1'].append(np.abs(error).mean())
        terms['detail'].append((error**2 * detail[row, frame]).mean())
        terms['edge'].append(
          0.5 * np.abs(np.diff(error, axis=0)).mean()
          + 0.5 * np.abs(np.diff(error, axis=1)).mean()
        )
      for index in range(1 + (frames - 1) // CONFIG.tubelet):
        terms['quantizer'].append(output.quantizer_loss[row, index].mean())
  return {name: np.mean(values) for name, values in terms.items()}


@pytest.mark.parametrize(('clips', 'images'), [(2, 3), (2, 0), (0, 3)])
def test_the_loss_equals_loops(clips, images):
  batch = _batch(clips, images)
  loss, metrics = _loss(_params(), batch)
  loss, metrics = float(loss), finalise(fetched(metrics))
  expected = _naive(batch)
  for name, value in expected.items():
    assert metrics[name] == pytest.approx(value, rel=1e-4), name
  total = sum(getattr(WEIGHTS, name) * expected[name] for name in expected)
  assert loss == pytest.approx(total, rel=1e-4)
  assert metrics['loss'] == pytest.approx(loss, rel=1e-6)


def test_a_term_of_weight_zero_is_logged_and_leaves_the_loss():
  weights = dataclasses.replace(WEIGHTS, detail=0.0)
  task = dataclasses.replace(TASK, weights=weights)
  (loss, metrics), _ = _grads(task, _params(), _batch())
  whole, _, _ = _run(_batch())
  detail = finalise(fetched(metrics))['detail']
  assert detail > 0.1
  assert float(loss) == pytest.approx(whole - 0.75 * detail, rel=1e-5)


def test_padding_frames_change_neither_loss_nor_gradient():
  batch = _batch()
  loss, metrics, grads = _run(batch)
  other = _batch()
  other['clips']['pixels'][0, 3:] = 255 - other['clips']['pixels'][0, 3:]
  other_loss, other_metrics, other_grads = _run(other)
  assert other_loss == loss
  jax.tree.map(np.testing.assert_array_equal, other_grads, grads)
  assert other_metrics == metrics
  # The same change in a real frame is seen.
  other['clips']['pixels'][1, 3:] = 255 - other['clips']['pixels'][1, 3:]
  assert _run(other)[0] != loss


def test_every_parameter_is_trained():
  _, _, grads = _run(_batch())
  still = [
    path
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    if not np.any(leaf)
  ]
  assert not still


def test_psnr_is_measured_in_decibels():
  batch = _batch(0, 3)
  metrics = finalise(fetched(_loss(_params(), batch)[1]))
  pixels, output = _outputs(_params(), batch['images']['pixels'][:, None])
  errors = (np.asarray(output.reconstruction) - pixels) ** 2
  psnr = 10 * np.log10(4 / errors.mean((1, 2, 3, 4)))
  assert metrics['psnr_images_first'] == pytest.approx(psnr.mean(), rel=1e-4)


def test_codes_in_use_are_counted():
  batch = _batch(0, 3)
  metrics = finalise(fetched(_loss(_params(), batch)[1]))
  _, output = _outputs(_params(), batch['images']['pixels'][:, None])
  assert metrics['codes/usage'] == pytest.approx(
    len(np.unique(output.ids)) / 32
  )
  assert 1 <= metrics['codes/perplexity'] <= 32


def test_images_of_a_repeated_first_frame_are_still_clips():
  config = dataclasses.replace(CONFIG, first_frame='repeated')
  task = dataclasses.replace(TASK, config=config)
  params = _drawn(task)
  images = _batch(0, 3)
  still = {
    'clips': {
      'pixels': np.repeat(images['images']['pixels'][:, None], 3, axis=1),
      'num_frames': np.full(3, 3, np.int32),
    }
  }
  (loss, _), grads = _grads(task, params, images)
  (expected, _), expected_grads = _grads(task, params, still)
  assert float(loss) == pytest.approx(float(expected), rel=1e-6)
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
    grads,
    expected_grads,
  )


class Brightness(nn.Module):
  """A small network of frames, or of clips, with one layer."""

  layers = ('mean',)
  dims: int = 2
  least_side: int = 32

  @nn.compact
  def __call__(self, pixels):
    init = sharding.logical(nn.initializers.normal(), None, None)
    kernel = self.param('kernel', init, (3, 5))
    features = jnp.tanh(pixels @ kernel)
    if self.dims == 3:
      return {'mean': features.mean((1, 2, 3))}
    return {'mean': features}


def _network(name, dims):
  kernel = np.random.default_rng(dims).normal(size=(3, 5)).astype(np.float32)
  return PerceptualNetwork(
    name=name, module=Brightness(dims=dims), params={'kernel': kernel}
  )


ADVERSARY = AdversaryConfig(channels=(3,), loss='hinge', lecam=0.1)
# Without blocks, as what is tested here is compiled for both players.
PLAYERS = TokenizerTask(
  config=dataclasses.replace(CONFIG, spatial_layers=0, temporal_layers=0),
  weights=TokenizerLossWeights(
    **PAPER,
    adversary=ADVERSARY,
    networks=PerceptualConfig(video_size=8),
    codebook=CodebookConfig(kmeans=True, revive_after=2),
  ),
  image_network=_network('brightness', 2),
  video_network=_network('movement', 3),
)


@functools.cache
def _players():
  params = _drawn(PLAYERS)
  fresh = {
    name: np.zeros_like(leaf) for name, leaf in params['statistics'].items()
  }
  fresh['steps'] = np.float32(3)
  fresh['scores'] = np.float32([0.5, -0.5])
  return jax.tree.map(jnp.asarray, {**params, 'statistics': fresh})


_gradients = jax.jit(PLAYERS.gradients)


@functools.cache
def _joint(waiting=False):
  params = _players()
  if waiting:
    unused = jnp.full(32, 1.0)
    statistics = {**params['statistics'], 'unused': unused}
    params = {**params, 'statistics': statistics}
  return _gradients(params, PLAYERS.frozen, _batch(2, 0), rng.root(4))


def test_joint_gradients_equal_two_passes():
  joint, _ = _joint()

  @jax.jit
  def alone(params, *inputs):
    return [
      jax.grad(lambda p, i=i: PLAYERS.losses(p, *inputs)[0][i])(params)
      for i in range(2)
    ]

  inputs = PLAYERS.frozen, _batch(2, 0), rng.root(4)
  model, opponent = alone(_players(), *inputs)
  expected = {**model, 'discriminator': opponent['discriminator']}
  for name in expected.keys() - {'statistics'}:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      joint[name],
      expected[name],
    )
    assert all(np.any(leaf) for leaf in jax.tree.leaves(joint[name])), name


def test_every_term_of_the_paper_is_logged_and_weighed():
  _, metrics = _joint()
  found = finalise(fetched(metrics))
  assert set(PAPER) <= set(found)
  assert all(found[name] > 1e-4 or name == 'adversarial' for name in PAPER)
  total = sum(weight * found[name] for name, weight in PAPER.items())
  assert found['loss'] == pytest.approx(total, rel=1e-5)
  assert {'discriminator', 'r1', 'lecam', 'scores_real'} <= set(found)


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('name', PAPER)
def test_a_term_of_the_paper_of_weight_zero_changes_no_other(name):
  weights = dataclasses.replace(PLAYERS.weights, **{name: 0.0})
  task = dataclasses.replace(PLAYERS, weights=weights)
  params = dict(_players())
  if name == 'adversarial':
    assert not task.opponents
    del params['discriminator']
  # Nothing is differentiated: the losses alone are compiled.
  (loss, _), (metrics, _) = jax.jit(task.losses)(
    params, task.frozen, _batch(2, 0), rng.root(4)
  )
  found, whole = (finalise(fetched(m)) for m in (metrics, _joint()[1]))
  rest = [other for other in PAPER if other != name]
  for other in rest:
    assert found[other] == pytest.approx(whole[other], rel=1e-5), other
  total = sum(PAPER[other] * found[other] for other in rest)
  assert float(loss) == pytest.approx(total, rel=1e-5)


def test_unused_codes_are_replaced_by_vectors_of_the_batch():
  params = _players()
  grads, metrics = _joint(waiting=True)
  after = PLAYERS.settle(params, grads)
  unused = np.asarray(grads['statistics']['unused'])
  dead = unused == 2
  assert 0 < dead.sum() < 32
  assert finalise(fetched(metrics))['codes/renewed'] == dead.sum()
  codebook = np.asarray(after['quantizer']['codebook'])
  before = params['quantizer']['codebook']
  np.testing.assert_array_equal(codebook[~dead], before[~dead])
  candidates = np.asarray(grads['statistics']['candidates'])
  np.testing.assert_array_equal(codebook[dead], candidates[dead])
  assert not np.asarray(after['statistics']['unused']).any()
  assert float(after['statistics']['steps']) == 4


def test_the_codebook_starts_as_clusters():
  grads, _ = _joint()
  params = {**_players()}
  params['statistics'] = {**params['statistics'], 'steps': jnp.zeros(())}
  after = PLAYERS.settle(params, grads)
  np.testing.assert_array_equal(
    after['quantizer']['codebook'], grads['statistics']['candidates']
  )


def test_opponents_and_statistics_are_not_averaged_and_are_kept_apart():
  optimizer = make_optimizer(
    OptimConfig(opponent_b1=0.0, opponent_learning_rate=1e-5),
    steps=10,
    params=boxed_params(PLAYERS),
    opponents=PLAYERS.opponents,
    unoptimized=PLAYERS.statistics,
  )
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=1), devices=jax.devices()[:1]
  )
  state = abstract_state(PLAYERS, optimizer, mesh)
  assert state.params.keys() - state.ema.keys() == {
    *('discriminator', 'statistics')
  }
  plain = TokenizerTask(config=PLAYERS.config)
  assert state.ema.keys() == boxed_params(plain).keys()
  paths = {
    jax.tree_util.keystr(path)
    for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)
  }
  assert any("'discriminator'" in path for path in paths)
  assert not any("'statistics']['" in path for path in paths)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_resumed_duel_equals_an_uninterrupted_one(tmp_path):
  def batches(start):
    step = start
    while True:
      yield _batch(seed=step)
      step += 1

  def train(folder, steps):
    code = toy.train(
      folder,
      steps=steps,
      stream=batches,
      task=PLAYERS,
      optim=OptimConfig(decay='constant', warmup_steps=0, opponent_b1=0.0),
    )
    assert code == 0
    manifest = folder / 'checkpoints' / str(steps) / 'manifest.json'
    return json.loads(manifest.read_text())['arrays']

  whole = train(tmp_path / 'whole', 4)
  train(tmp_path / 'parts', 2)
  assert train(tmp_path / 'parts', 4) == whole
  # Parameters of both, their moments, the average of one, and statistics.
  for kept in ('params/discriminator', 'params/statistics', 'ema/quantizer'):
    assert any(path.startswith(kept) for path in whole), kept
  assert any('discriminator' in path for path in whole if 'opt' in path[:4])


def test_the_shapes_of_perceptual_weights_are_known_without_them():
  named = jax.eval_shape(lambda: PLAYERS.init_frozen(rng.root(0)))
  shapes = jax.tree.map(jnp.shape, sharding.unbox(named))
  assert shapes == jax.tree.map(jnp.shape, PLAYERS.frozen)


def test_padding_reaches_neither_entropies_nor_a_judge_of_clips():
  config = dataclasses.replace(
    CONFIG, quantizer='lfq', lfq_bits=6, lfq_entropy=1.0
  )
  adversary = AdversaryConfig(channels=(3,), judges='clips', r1=0.0)
  weights = TokenizerLossWeights(adversarial=1.0, adversary=adversary)
  task = TokenizerTask(config=config, weights=weights)
  params = _drawn(task)
  run = jax.jit(lambda *x: task.losses(*x)[0])
  batch, other = _batch(), _batch()
  other['clips']['pixels'][0, 3:] = 255 - other['clips']['pixels'][0, 3:]
  first, second = (run(params, {}, x, rng.root(0)) for x in (batch, other))
  assert list(map(float, first)) == list(map(float, second))
  assert float(first[1]) > 0


def test_it_overfits_one_batch():
  config = TokenizerConfig(
    patch=(4, 4),
    width=32,
    num_heads=2,
    mlp_dim=64,
    spatial_layers=1,
    temporal_layers=1,
    fsq_levels=(8, 8, 8),
  )
  task = TokenizerTask(config=config)
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
  # Smooth images: colour gradients that rotate from frame to frame.
  batch = _batch(2, 3)
  ramp = np.linspace(0, 1, 8)
  turn = np.linspace(0, np.pi, 10).reshape(2, 5)
  across = 0.5 + 0.5 * np.cos(
    3 * ramp[None, None, :, None] + turn[:, :, None, None]
  ) * np.sin(2 * ramp + 0.5)
  clips = np.stack([across, 1 - across, across**2], -1)
  batch['clips']['pixels'] = np.uint8(255 * clips)
  batch['images']['pixels'] = batch['clips']['pixels'][0, :3].copy()
  losses = []
  for _ in range(60):
    state, metrics = step(state, batch, rng.root(1), {})
    losses.append(finalise(fetched(metrics))['loss'])
  assert losses[0] > 0.5
  assert losses[-1] < 0.05, losses[::10]
