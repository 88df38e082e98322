"""Clips: reproducible, true to their context, compiled once, on any mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.generator import Generator
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.sampling import sampler as sampler_lib
from phenaki_jax.sampling.config import DecodeConfig, SamplingSettings
from phenaki_jax.sampling.decode import DecodeState
from phenaki_jax.sampling.sampler import Guided, Models, Sampler
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_conditions import _rates
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

SIZE = (16, 16)
FAST = SamplingSettings(steps=3)
PROMPTS = ['a red circle', 'a blue square']


def _clips(sampler, prompts=tuple(PROMPTS), seeds=(1, 2), **options):
  options.setdefault('settings', FAST)
  return sampler.clips(prompts, size=SIZE, seeds=seeds, **options)


def _context(frames, batch=2, seed=0):
  values = np.random.default_rng(seed).integers(
    0, 256, (batch, frames, *SIZE, 3)
  )
  return values.astype(np.uint8)


def test_a_clip_depends_on_its_own_seed_only(tiny_sampler):
  clips = _clips(tiny_sampler)
  assert clips.shape == (2, 9, *SIZE, 3)
  assert clips.dtype == np.uint8
  np.testing.assert_array_equal(_clips(tiny_sampler), clips)
  turned = _clips(tiny_sampler, PROMPTS[::-1], seeds=(2, 1))
  np.testing.assert_array_equal(turned[::-1], clips)
  alone = _clips(tiny_sampler, PROMPTS[:1], seeds=(1,))
  np.testing.assert_array_equal(alone, clips[:1])
  other = _clips(tiny_sampler, seeds=(1, 3))
  np.testing.assert_array_equal(other[0], clips[0])
  assert (other[1] != clips[1]).any()


def test_the_prompt_and_the_guidance_matter(tiny_sampler):
  cold = dataclasses.replace(FAST, temperature=0.0, choice_temperature=0.0)
  clips = _clips(tiny_sampler, settings=cold)
  other = _clips(tiny_sampler, PROMPTS[::-1], settings=cold)
  assert (other != clips).any()
  strong = dataclasses.replace(cold, guidance=20.0)
  assert (_clips(tiny_sampler, settings=strong) != clips).any()


@pytest.mark.parametrize('frames', [1, 5])
def test_a_clip_begins_with_its_context(tiny_sampler, frames):
  context = _context(frames)
  clips = _clips(tiny_sampler, context=context)
  rebuilt = tiny_sampler.decode(tiny_sampler.encode(context))
  # Another length is another program, which may round once differently.
  difference = np.abs(clips[:, :frames].astype(int) - rebuilt.astype(int))
  assert difference.max() <= 1
  other = _clips(tiny_sampler, context=_context(frames, seed=1))
  assert (other[:, frames:] != clips[:, frames:]).any()


def test_known_tokens_stay(tiny_sampler):
  generator = np.random.default_rng(0)
  ids = generator.integers(0, 16, (2, 5, 2, 2))
  known = generator.random(ids.shape) < 0.5
  state = tiny_sampler.uncover(
    PROMPTS, ids=ids, known=known, seeds=(0, 1), settings=FAST
  )
  tokens = state.ids.reshape(ids.shape)
  np.testing.assert_array_equal(tokens[known], ids[known])
  assert (tokens[~known] != ids[~known]).any()
  assert (tokens >= 0).all() and (tokens < 16).all()


def test_each_token_is_uncovered_at_one_step(tiny_sampler):
  known = np.zeros((2, 5, 2, 2), bool)
  known[:, 0] = True
  ids = np.ones(known.shape, np.int32)
  given = {'ids': ids, 'known': known, 'seeds': (0, 1), 'settings': FAST}
  state = tiny_sampler.uncover(PROMPTS, **given)
  assert not state.hidden.any()
  came = state.uncovered_at.reshape(known.shape)
  assert (came[known] == -1).all()
  for sample in came:
    # The cosine leaves 13 and 8 of the 16 hidden.
    assert [(sample == step).sum() for step in range(3)] == [3, 5, 8]


def test_the_programs_compile_once(tiny_sampler):
  programs = [
    sampler_lib.encode_pixels,
    sampler_lib.uncover_tokens,
    sampler_lib.decode_tokens,
  ]
  context = _context(5)
  _clips(tiny_sampler, context=context)
  unguided = dataclasses.replace(FAST, guidance=0.0)
  _clips(tiny_sampler, context=context, settings=unguided)
  before = [program._cache_size() for program in programs]
  for scene in range(3):
    settings = SamplingSettings(
      steps=3,
      guidance=float(scene),
      temperature=0.5 * scene,
      choice_temperature=2.0 * scene,
    )
    context = _clips(
      tiny_sampler,
      [f'scene {scene}', 'it turns green'],
      seeds=(scene, 2**32 - 1),
      settings=settings,
      context=context[:, -5:],
    )
  assert [program._cache_size() for program in programs] == before


def _cost(sampler, guided):
  grid = sampler.models.generator.grid
  return (
    sampler_lib.uncover_tokens.lower(
      sampler.models,
      DecodeConfig(steps=3),
      sampler.generator_params,
      np.ones((2, 12), np.int32),
      np.zeros((2, *grid), np.int32),
      np.zeros((2, *grid), bool),
      jax.vmap(rng.root)(np.arange(2, dtype=np.uint32)),
      np.ones((2, 3), np.float32),
      guided=guided,
    )
    .compile()
    .cost_analysis()['flops']
  )


def test_without_guidance_the_forward_pass_is_half_as_large(tiny_sampler):
  cost = {guided: _cost(tiny_sampler, guided) for guided in (None, Guided())}
  assert cost[None] < 0.65 * cost[Guided()]


def test_guidance_of_zero_is_the_limit_of_a_weak_one(tiny_sampler):
  cold = dataclasses.replace(FAST, temperature=0.0, choice_temperature=0.0)
  none, weak = (
    _clips(tiny_sampler, settings=dataclasses.replace(cold, guidance=scale))
    for scale in (0.0, 1e-6)
  )
  np.testing.assert_array_equal(none, weak)


def test_a_schedule_and_a_negative_prompt_change_what_guidance_does(
  tiny_sampler,
):
  cold = SamplingSettings(
    steps=3, guidance=20.0, temperature=0.0, choice_temperature=0.0
  )

  def made(**changes):
    settings = dataclasses.replace(cold, **changes)
    return _clips(tiny_sampler, settings=settings)

  plain = made()
  assert (made(guidance_schedule='linear') != plain).any()
  away = made(negative='a blue square')
  assert (away != plain).any()
  # Away from its own prompt, nothing is left to guide.
  own = _clips(
    tiny_sampler,
    ['a red circle'] * 2,
    settings=dataclasses.replace(cold, negative='a red circle'),
  )
  none = _clips(
    tiny_sampler,
    ['a red circle'] * 2,
    settings=dataclasses.replace(cold, guidance=0.0),
  )
  assert np.abs(own.astype(int) - none.astype(int)).max() <= 1


def test_parameters_are_not_changed(tiny_sampler):
  trees = (tiny_sampler.tokenizer_params, tiny_sampler.generator_params)
  before = jax.tree.map(np.array, trees)
  _clips(tiny_sampler)
  jax.tree.map(np.testing.assert_array_equal, trees, before)


@pytest.mark.parametrize(
  ('options', 'sentence'),
  [
    ({'seeds': (1,)}, '2 prompts and 1 seeds'),
    ({'prompts': [], 'seeds': ()}, 'at least one prompt'),
    ({'context': _context(5, batch=1)}, r'give uint8 \[2, K, 16, 16, 3\]'),
    ({'context': _context(9)}, 'K below the clip length of 9'),
    ({'context': _context(4)}, 'use 3 or 5 frames'),
  ],
)
def test_arguments_that_do_not_fit_are_refused(tiny_sampler, options, sentence):
  with pytest.raises(ValueError, match=sentence):
    _clips(tiny_sampler, **options)


@pytest.mark.parametrize(
  ('setting', 'sentence'),
  [
    ({'steps': 0}, 'steps is 0, but it must be greater than 0'),
    (
      {'order': 'rnd'},
      "order is 'rnd', but it must be 'confidence', 'gumbel', 'random'",
    ),
    ({'schedule': 'linaer'}, "schedule is 'linaer'"),
    ({'temperature': -1.0}, 'temperature is -1.0, but it must be greater'),
  ],
)
def test_invalid_settings_raise(setting, sentence):
  with pytest.raises(ValueError, match=sentence):
    SamplingSettings(**setting)


def test_a_generator_of_another_tokenizer_is_refused(tiny_sampler):
  with pytest.raises(ValueError, match='predicts 8192 codes but the tokenizer'):
    Models(
      tokenizer=TokenizerConfig(),
      generator=GeneratorConfig(codebook_size=8192),
      text=tiny_sampler.models.text,
    )


def _on(mesh, sampler):
  """Spread a sampler's parameters over a mesh by their logical names."""
  models = sampler.models
  tasks = {
    'tokenizer_params': TokenizerTask(config=models.tokenizer),
    'generator_params': GeneratorTask(
      config=models.generator,
      text=models.text,
      tokenizer=models.tokenizer,
      tokenizer_params={},
    ),
  }
  placed = {
    name: jax.device_put(
      getattr(sampler, name),
      sharding.param_shardings(
        jax.eval_shape(task.init, rng.root(0)), mesh, uneven='replicate'
      ),
    )
    for name, task in tasks.items()
  }
  return dataclasses.replace(sampler, **placed)


@pytest.mark.parametrize(
  'config',
  [
    MeshConfig(),
    MeshConfig(data=4, fsdp=2),
    MeshConfig(data=2, fsdp=2, tensor=2),
  ],
  ids=['8', '4x2', '2x2x2'],
)
def test_a_sample_is_the_same_on_every_mesh(tiny_sampler, config):
  context = _context(5)
  expected = _clips(tiny_sampler, context=context)
  mesh = sharding.make_mesh(config)
  spread = _on(mesh, tiny_sampler)
  assert isinstance(spread, Sampler)
  leaves = jax.tree.leaves(spread.generator_params)
  assert all(len(leaf.sharding.device_set) == 8 for leaf in leaves)
  if config.fsdp > 1:
    assert any(not leaf.sharding.is_fully_replicated for leaf in leaves)
  with jax.set_mesh(mesh):
    clips = _clips(spread, context=context)
  difference = np.abs(clips.astype(int) - expected.astype(int))
  assert difference.max() <= 1


def test_a_critic_orders_the_decoding(tiny_sampler):
  settings = dataclasses.replace(FAST, order='critic')
  with pytest.raises(UserError, match='the model has no critic'):
    _clips(tiny_sampler, settings=settings)
  models = tiny_sampler.models
  config = dataclasses.replace(models.generator, critic='self')
  clips = []
  for sign in (1.0, -1.0):
    head = {
      'kernel': sign * np.linspace(-5, 5, 16, dtype=np.float32)[:, None],
      'bias': np.zeros(1, np.float32),
    }
    sampler = dataclasses.replace(
      tiny_sampler,
      models=dataclasses.replace(models, generator=config),
      generator_params={
        **tiny_sampler.generator_params,
        'critic': {'head': head},
      },
    )
    clips.append(_clips(sampler, settings=settings))
  alone = _clips(sampler, PROMPTS[:1], seeds=(1,), settings=settings)
  np.testing.assert_array_equal(alone, clips[1][:1])
  assert (clips[0] != clips[1]).any()


def test_temporal_guidance_needs_layers_over_time(tiny_sampler, ported_sampler):
  cold = SamplingSettings(
    steps=3, guidance=1.0, temperature=0.0, choice_temperature=0.0
  )

  def made(sampler, scale):
    settings = dataclasses.replace(cold, time_guidance=scale)
    return _clips(sampler, settings=settings)

  with pytest.raises(UserError, match='generator.attention=factorized'):
    made(tiny_sampler, 2.0)
  assert (made(ported_sampler, 0.0) != made(ported_sampler, 5.0)).any()
  # Where the layers over time are zero, nothing is left to guide.
  params = jax.tree.map(np.array, ported_sampler.generator_params)
  params['generator']['blocks']['block_0']['time']['out']['kernel'][:] = 0
  still = dataclasses.replace(ported_sampler, generator_params=params)
  np.testing.assert_array_equal(made(still, 0.0), made(still, 5.0))


@pytest.mark.parametrize(
  ('settings', 'guided'),
  [
    ({'guidance': 0.0}, None),
    ({'guidance': 1.0}, Guided()),
    ({'guidance': 0.0, 'time_guidance': 2.0}, Guided(is_temporal=True)),
    ({'negative': 'a'}, Guided(is_negative=True)),
  ],
)
def test_what_guides_is_compiled_for_what_is_asked(settings, guided):
  assert Guided.by(SamplingSettings(**settings)) == guided


def test_a_source_frame_is_seen_by_all_clips(tiny_sampler, ported_sampler):
  frame = _context(1, batch=1)[0, 0]
  with pytest.raises(UserError, match='the model reads no source frame'):
    tiny_sampler.with_source(frame)
  settings = SamplingSettings(steps=2, temperature=0.0, choice_temperature=0.0)
  shown, other = (
    _clips(
      ported_sampler.with_source(each),
      PROMPTS[:1],
      seeds=(1,),
      settings=settings,
    )
    for each in (frame, 255 - frame)
  )
  assert (shown != other).any()


def test_each_picture_of_a_character_is_read(tiny_sampler, ported_sampler):
  frames = _context(2, batch=1)[0]
  with pytest.raises(UserError, match='the model reads no pictures of a char'):
    tiny_sampler.with_character(frames)
  settings = SamplingSettings(steps=2, temperature=0.0, choice_temperature=0.0)
  other = [np.stack([frames[0], 255 - frames[1]]), 255 - frames]
  made = [
    _clips(
      ported_sampler.with_character(each),
      PROMPTS[:1],
      seeds=(1,),
      settings=settings,
    )
    for each in (frames, *other)
  ]
  assert (made[0] != made[1]).any() and (made[1] != made[2]).any()


def test_context_frames_are_on_the_canvas(ported_sampler, monkeypatch):
  class Seen(Exception):
    pass

  def see(self, prompts, *, conditions, **options):
    raise Seen(conditions.canvas)

  monkeypatch.setattr(Sampler, 'uncover', see)
  context = _context(5)
  with pytest.raises(Seen) as caught:
    _clips(ported_sampler, context=context)
  (canvas,) = caught.value.args
  assert canvas.known[:, :5].all() and not canvas.known[:, 5:].any()
  np.testing.assert_array_equal(canvas.rgb[:, :5], context)


@pytest.mark.parametrize('canvas', [True, False])
def test_the_frame_rate_is_told_up_to_that_of_the_training(
  ported_sampler, canvas, monkeypatch
):
  told = []

  def see(*args, conditions, **options):
    told.append(conditions and conditions.scalars)
    raise InterruptedError

  monkeypatch.setattr(sampler_lib, 'uncover_tokens', see)
  models = ported_sampler.models
  ports = dataclasses.replace(models.generator.ports, canvas=canvas)
  generator = dataclasses.replace(models.generator, ports=ports)
  sampler = dataclasses.replace(
    ported_sampler,
    models=dataclasses.replace(models, generator=generator),
    fps=8.0,
  )
  with pytest.raises(InterruptedError):
    _clips(sampler, context=_context(5))
  given = sampler.given(None, size=SIZE, batch=2)
  for rate in (None, 4.0, 16.0):
    with pytest.raises(InterruptedError):
      sampler.uncover(
        PROMPTS,
        ids=given.ids,
        known=given.known,
        seeds=(1, 2),
        settings=FAST,
        fps=rate,
      )
  *rates, none = told
  assert [one['fps'].tolist() for one in rates] == [[8, 8], [8, 8], [4, 4]]
  assert none is None


def test_the_told_rate_is_that_of_training_and_changes_the_logits(
  ported_sampler,
):
  sampler = dataclasses.replace(ported_sampler, fps=8.0)
  models = sampler.models
  generator = Generator(config=models.generator, text=models.text)
  texts = sampler.texts(PROMPTS)
  ids = sampler.blank(2, 9, SIZE)

  @jax.jit
  def predict(params, given):
    encoded = generator.encode(params, texts)
    return generator.logits(params, jnp.asarray(ids), encoded, conditions=given)

  logits = {}
  for stride in (1, 2):
    # Of the clips that every stride makes, training tells most their rate.
    clips = {
      'num_frames': np.full(64, 5, np.int32),
      'strides': np.full(64, stride, np.int32),
    }
    trained = np.asarray(_rates(clips, rng.root(0), 8.0))
    given = sampler.told(None, ids, 8.0 / stride)
    told = given.scalars['fps']
    assert np.unique(trained).tolist() == [-1.0, float(told[0])]
    logits[stride] = predict(sampler.generator_params, given)
  assert (logits[1] != logits[2]).any()
  # Images have no rate.
  assert sampler.told(None, sampler.blank(2, 1, SIZE)) is None


def test_a_critic_of_the_trunk_scores_with_the_conditions(
  ported_sampler, monkeypatch
):
  seen = []

  def see(models, params, texts, ids, conditions):
    seen.append(conditions)
    return np.zeros(ids.shape, np.float32)

  def guess(models, config, params, texts, ids, *args, **options):
    ids = np.asarray(ids).reshape(len(ids), -1)
    return DecodeState(
      ids=ids,
      hidden=np.zeros(ids.shape, bool),
      uncovered_at=ids,
      confidence=np.zeros(ids.shape, np.float32),
    )

  monkeypatch.setattr(sampler_lib, 'criticise', see)
  monkeypatch.setattr(sampler_lib, 'uncover_tokens', guess)
  models = ported_sampler.models
  generator = dataclasses.replace(models.generator, critic='self')
  sampler = dataclasses.replace(
    ported_sampler, models=dataclasses.replace(models, generator=generator)
  ).with_source(_context(1)[0, 0])
  sampler.scored_clips(
    PROMPTS, size=SIZE, seeds=(1, 2), settings=FAST, context=_context(5)
  )
  assert seen[0].canvas.known[:, :5].all()
  assert 'source' in seen[0].memory
