"""A diffusion model in training, after it, and where it does not fit."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from phenaki_jax import rng, sharding
from phenaki_jax.cli.main import main
from phenaki_jax.data.buckets import Buckets
from phenaki_jax.diffusion.conditions import Conditions, pixel_canvas
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.errors import UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.nn.conditions import blank
from phenaki_jax.runs import assemble, diffusion, experiment, train, validation
from phenaki_jax.runs import open as open_lib
from phenaki_jax.runs.adapt import Adaptation, adaptation
from phenaki_jax.runs.pipelines import open_pipeline
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.training.checkpoints import load_params
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.state import create_state

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
TINY = [
  *('data.size=16,16', 'data.frames=3', 'data.context_frames=1'),
  *('data.batch_size=16', 'data.image_share=0.5', 'data.num_threads=0'),
  *('task.prediction_frames=1', 'diffusion.widths=8,', 'train.steps=4'),
  *('diffusion.head_dim=8', 'diffusion.condition_width=8', 'text.width=16'),
  *('text.num_layers=1', 'text.num_heads=2', 'text.head_dim=8'),
  *('text.mlp_dim=16', 'sampling.steps=2', 'train.checkpoint_every=2'),
  *('train.log_every=1', 'train.evaluate_every=4', 'optim.optimizer=adamw'),
]


def _resolve(*overrides, config='tiny.py'):
  return experiment.resolve(
    f'{CONFIGS}/diffusion/{config}', [*TINY, *overrides]
  )


def test_the_grid_of_pixels_is_that_of_the_coarsest_stage():
  found = _resolve('diffusion.patch=2', 'diffusion.widths=8,8,8')
  assert found.tokenizer.patch == (8, 8) and found.tokenizer.tubelet == 1
  assert not found.uses_tokenizer and found.reads_text
  validation.validate(found, num_devices=8)
  wrong = _resolve('diffusion.widths=8,8,8', 'data.size=16,20')
  with pytest.raises(UserError, match='width of 20 pixels is not a multiple'):
    validation.validate(wrong, num_devices=8)


def test_latents_have_the_channels_of_their_quantizer():
  found = _resolve(config='tiny.py:latents')
  assert found.diffusion.channels == 4 and found.uses_tokenizer
  validation.validate(found, num_devices=8)
  with pytest.raises(UserError, match='a diffusion needs a trained tokenizer'):
    validation.check_tokenizer_dir(found)
  with pytest.raises(UserError, match='channels is 3, but the tokenizer makes'):
    _resolve('diffusion.channels=3', config='tiny.py:latents')
  coarse = _resolve('diffusion.widths=8,8,8', config='tiny.py:latents')
  with pytest.raises(UserError, match='latents of a frame are 2 by 2'):
    validation.validate(coarse, num_devices=8)


def test_the_tokenizer_of_a_run_may_be_that_of_a_bundle(
  tiny_bundle, tiny_sampler
):
  found = _resolve(config='tiny.py:latents')
  found = dataclasses.replace(found, tokenizer_dir=str(tiny_bundle))
  for moved in (None, tiny_bundle):
    params = diffusion.tokenizer_params(found, tiny_bundle.parent, moved)
    jax.tree.map(
      np.testing.assert_array_equal, params, tiny_sampler.tokenizer_params
    )


def test_a_bundle_of_latents_holds_its_tokenizer(tiny_sampler, tmp_path):
  models = tiny_sampler.models
  options = 'data.clip_captions=False', 'diffusion.blocks=1'
  found = _resolve(*options, config='tiny.py:latents')
  found = dataclasses.replace(
    found,
    text=models.text,
    tokenizer=models.tokenizer,
    diffusion=dataclasses.replace(found.diffusion, channels=2),
    data=dataclasses.replace(found.data, token_cache=str(tmp_path)),
  )
  task = DiffusionTask(
    config=found.diffusion, text=found.text, tokenizer=found.tokenizer
  )
  shapes = sharding.unbox(jax.eval_shape(task.init, jax.random.key(0)))
  params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
  content = {
    'tokenizer_params': tiny_sampler.tokenizer_params,
    'config': diffusion.bundle_config(found, 'latents'),
    'vocabulary': tiny_sampler.vocabulary.model,
    'model_card': '# latents\n',
    # Otherwise the words of the captions would be counted.
    'words': (bundle_lib.reference_dir() / 'words.json').read_bytes(),
  }
  whole, part = tmp_path / 'whole', tmp_path / 'part'
  assert content['config']['data']['token_cache'] == ''
  bundle_lib.write_bundle(whole, generator_params=params, **content)
  assert diffusion.is_diffusion(whole)
  model = diffusion.load_any(whole)
  assert isinstance(model.sampler, StillFirst) and model.name == 'latents'
  trees = (
    (model.sampler.params, params),
    (
      model.sampler.tokenizer_params,
      tiny_sampler.tokenizer_params,
    ),
  )
  for one, other in trees:
    jax.tree.map(np.testing.assert_array_equal, one, other)
  with pytest.raises(UserError, match='holds its own tokenizer'):
    diffusion.load_any(whole, tokenizer=whole)
  with pytest.raises(UserError, match='story and phenaki edit open diffusion'):
    open_lib.load(whole)
  del params['unet']['output']
  bundle_lib.write_bundle(part, generator_params=params, **content)
  with pytest.raises(UserError, match='does not fit its config: unet/out'):
    diffusion.load_any(part)


def test_a_customised_model_starts_from_another_bit_for_bit(
  write_diffusion, tmp_path
):
  """Ports that are added change nothing until they learn."""
  place, folder = tmp_path / 'start', tmp_path / 'stills'
  write_diffusion(place, _resolve())
  folder.mkdir()
  Image.new('RGB', (16, 16)).save(folder / 'a.png')
  request = Adaptation(
    model=str(place), images=str(folder), caption='a circle', mode='all'
  )
  ports = [
    *('diffusion.ports.canvas=True', 'diffusion.ports.scalars=level'),
    *('diffusion.ports.memory=source,history', 'data.batch_size=16'),
    'diffusion.ports.memory_every=1',
  ]
  found = adaptation(request, tmp_path / 'run', ports)
  assert found.kind == 'diffusion' and found.start_from == str(place)
  mesh = sharding.make_mesh(found.mesh, devices=jax.devices()[:1])
  run = assemble.assemble(found, workdir=tmp_path / 'run', mesh=mesh)
  state = create_state(run.task, run.optimizer, run.state, rng.root(0))
  model = diffusion.load_any(place).sampler
  assert run.vocabulary.model == model.vocabulary.model
  bits = np.random.default_rng(1)
  x = jnp.asarray(bits.normal(size=(1, 3, 16, 16, 3)), jnp.float32)
  text = jnp.asarray(bits.normal(size=(1, 4, found.text.width)), jnp.float32)
  given = Conditions(
    canvas=pixel_canvas(x, jnp.zeros(x.shape[:-1], bool)),
    time=jnp.ones(1, bool),
    text=text,
    text_mask=jnp.ones((1, 4), bool),
  )
  told = blank(
    found.diffusion.ports,
    (3, 8, 8),  # positions of the squares of 2 by 2 pixels
    text_width=found.text.width,
    image_width=found.diffusion.image_width,
  )

  def predict(config, params, given):
    own = Denoiser(config=config, text=found.text)
    return jax.jit(own.predict)(params, x, jnp.full(1, 0.5), given)

  expected = predict(model.models.diffusion, model.params, given)
  made = predict(
    found.diffusion,
    state.params,
    dataclasses.replace(given, ports=jax.tree.map(jnp.ones_like, told)),
  )
  assert np.abs(expected).max() > 0.1
  np.testing.assert_array_equal(made, expected)
  for start, words in (
    (place, r'diffusion.widths is \[8\] there'),
    ('lpc', 'is no trained diffusion model'),
  ):
    wrong = _resolve(f'start_from={start}', 'diffusion.widths=16,')
    with pytest.raises(UserError, match=words):
      assemble.assemble(wrong, workdir=tmp_path / 'other', mesh=mesh)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_bundle_with_ports_restyles_clips(write_diffusion, tmp_path):
  """Structure, level, content and the noise of the clip matter."""
  options = [
    *('diffusion.ports.canvas=True', 'diffusion.ports.scalars=level'),
    *('diffusion.ports.memory=content', 'diffusion.ports.memory_every=1'),
    *('task.structure_share=0.5', 'task.content_share=0.5'),
  ]
  found = _resolve(*options)
  assert found.diffusion.ports.patch == (1, 2, 2)
  validation.validate(found, num_devices=8)
  write_diffusion(tmp_path / 'gen1', found)
  bits = np.random.default_rng(0)
  np.save(tmp_path / 'a.npy', bits.integers(0, 256, (3, 16, 16, 3), np.uint8))
  depth = bits.random((3, 16, 16))
  np.save(tmp_path / 'depth.npy', depth)
  np.save(tmp_path / 'other.npy', 1 - depth)
  for value in (0, 255):
    image = np.full((1, 16, 16, 3), value, np.uint8)
    np.save(tmp_path / f'{value}.npy', image)

  def made(depth='depth', content='0', *flags):
    film = tmp_path / 'film.mp4'
    argv = ['edit', '--structure', str(tmp_path / 'a.npy'), '--out', str(film)]
    argv += ['--model', str(tmp_path / 'gen1'), '--guidance', '0', '--steps']
    argv += ['2', '--content', str(tmp_path / f'{content}.npy'), '--depth']
    assert main([*argv, str(tmp_path / f'{depth}.npy'), *flags]) == 0
    return np.load(film.with_suffix('.npy'))

  expected = made()
  np.testing.assert_array_equal(made(), expected)
  assert (made('other') != expected).any()
  assert (made(content='255') != expected).any()
  assert (made('depth', '0', '--structure-level', '2') != expected).any()
  assert (made('depth', '0', '--invert') != expected).any()


def _train(folder, cache, *overrides):
  """Train in a process of its own, which has one device."""
  config = CONFIGS / 'diffusion' / 'tiny.py'
  argv = ['train', '--config', str(config), '--workdir', str(folder)]
  for text in (*TINY, 'optim.decay_steps=60', *overrides):
    argv += ['--set', text]
  subprocess.run(
    [sys.executable, '-m', 'phenaki_jax', *argv],
    cwd=CONFIGS.parent,
    env={**os.environ, **cache},
    check=True,
  )
  return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory, compiled_once):
  """Train a model without interruption."""
  return _train(tmp_path_factory.mktemp('runs') / 'whole', compiled_once)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_run_leaves_losses_and_samples(run):
  lines = [
    json.loads(line) for line in (run / 'metrics.jsonl').open().readlines()
  ]
  names = {name for line in lines for name in line}
  expected = {'train/loss', 'train/loss_clips', 'train/loss_images'}
  assert expected | {'heldout/loss'} < names
  assert [p.suffix for p in (run / 'samples').rglob('*') if p.is_file()]
  assert (run / 'vocab.model').is_file()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_resumed_run_equals_an_uninterrupted_one(run, compiled_once):
  folder = run.parent / 'resumed'
  _train(folder, compiled_once, 'train.steps=2', 'train.evaluate_every=100')
  _train(folder, compiled_once)
  one, two = (load_params(path).params for path in (run, folder))
  jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_it_tells_a_story_as_a_run_and_as_a_bundle(run, tmp_path, capsys):
  film = tmp_path / 'story.mp4'
  options = ['--model', str(run), '--out', str(film), '--steps', '2']
  prompts = ['--prompt', 'a red circle on grass', '--prompt', 'it turns blue']
  assert main(['story', *options, *prompts]) == 0
  assert film.stat().st_size
  assert 'diffusion_tiny at step 4' in film.with_suffix('.json').read_text()
  model = diffusion.load_any(run)
  (frames,) = model.sampler.clips(
    ['a red circle'], size=(16, 16), seeds=[0], settings=model.defaults.settings
  )
  assert frames.shape == (3, 16, 16, 3)
  bundle = tmp_path / 'bundle'
  argv = ['export', '--run', str(run), '--out', str(bundle)]
  assert main([*argv, '--license', 'CC0']) == 0
  again = diffusion.load_any(bundle)
  assert again.license == 'CC0' and model.license == ''
  (same,) = again.sampler.clips(
    ['a red circle'], size=(16, 16), seeds=[0], settings=model.defaults.settings
  )
  np.testing.assert_array_equal(same, frames)
  assert again.name == model.name and again.words == model.words
  assert 'denoises pixels' in (bundle / 'model_card.md').read_text()
  argv = ['story', '--model', str(bundle), '--out', str(tmp_path / 'b.mp4')]
  assert main([*argv, '--steps', '2', *prompts]) == 0
  for place in (run, bundle):
    argv = ['export', '--format', 'stablehlo', '--model', str(place)]
    assert main([*argv, '--out', str(tmp_path / 'programs')]) == 2
    assert 'of which no programs are written' in capsys.readouterr().err


@pytest.mark.parametrize(
  'overrides',
  [
    ('data.image_share=0',),
    ('data.buckets=[{"frames": 3, "size": [16, 16]}]',),
    ('data.buckets=[{"frames": 3, "size": [16, 16]}]', 'data.image_share=0'),
  ],
)
def test_a_run_of_pixels_counts_examples_and_no_tokens(overrides):
  found = _resolve(*overrides)
  opener = functools.partial(open_pipeline, found, vocabulary=None)
  data = found.data
  pipeline = Buckets(data, opener) if data.buckets else opener(data)
  assert 'tokens' not in train.described(found, pipeline)
  counts = {'clips': 8, 'images': 8}
  if 'data.image_share=0' in overrides:
    counts = {'clips': 16}
  seen = train._count_seen(found, pipeline)(counts, 3)
  expected = {f'{part}_seen': 3.0 * count for part, count in counts.items()}
  assert seen == {**expected, 'image_share': counts.get('images', 0) / 16}


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (['diffusion.reads_text=False'], 'reads_text is False, .*set it to True'),
    (['diffusion.degradation=0.1'], 'values=pixels has no small copies'),
    (['task.balance=examples'], 'task.balance has no effect on the diffusion'),
    (['task.source_share=0.1'], "needs the role 'source'; add it to diffusion"),
    (['task.structure_share=0.1'], 'set diffusion.ports.canvas=True'),
    (
      ['task.structure_share=0.1', 'diffusion.ports.canvas=True'],
      "needs the scalar 'level', .*; add it to diffusion.ports.scalars",
    ),
    (['task.trained=critic'], "none; set task.trained to 'words', 'prompt' or"),
    (['task.trained=prompt'], 'has none; set diffusion.prompt to 32 vectors'),
    (['text.words=zog'], 'words are added to a trained diffusion model'),
    (
      ['diffusion.prompt=4', 'task.trained=prompt'],
      'which needs a trained diffusion model: --set start_from=DIR',
    ),
    (
      ['data.clip_captions=False', 'data.image_share=0'],
      'no example has a caption',
    ),
    (
      [
        *('data.clip_captions=False', 'data.image_share=0.5'),
        'task.history_share=0.5',
      ],
      'captions of earlier scenes are not read',
    ),
  ],
)
def test_settings_that_do_nothing_are_refused(overrides, message):
  with pytest.raises(UserError, match=message):
    validation.validate(_resolve(*overrides), num_devices=8)


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (['diffusion.reads_text=True'], 'reads_text is True, .*set it to False'),
    (['diffusion.enlarge=5'], 'enlarge=5 must divide both sides'),
    (['task.text_dropout=0.2'], 'text_dropout has no effect .* of residual'),
    (['start_from=runs/other'], 'start_from has no effect'),
    (['text.words=zog'], 'text.words has no effect'),
  ],
)
def test_super_resolution_has_no_settings_of_texts(overrides, message):
  config = f'{CONFIGS}/diffusion/super_resolution.py:storyworld'
  validation.validate(experiment.resolve(config), num_devices=1)
  with pytest.raises(UserError, match=message):
    validation.validate(experiment.resolve(config, overrides), num_devices=1)
