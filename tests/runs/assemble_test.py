"""Runs assembled without arrays agree with the runs that train."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import SIZES
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.runs import assemble, experiment, starting
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.text.words import Words
from phenaki_jax.tokenizer import config as tokenizer_config
from phenaki_jax.training import checkpoint_files
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState, create_state, place_frozen
from phenaki_jax.training.tokenizer_task import TokenizerTask

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
SMALL = [
  *('data.size=16,16', 'data.frames=5', 'data.context_frames=3'),
  *('data.batch_size=16', 'data.image_share=0.5', 'optim.optimizer=adamw'),
]
TOKENIZER = [
  *SMALL,
  *('tokenizer.width=16', 'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
]
GENERATOR = [
  *SMALL,
  *('generator.width=16', 'generator.num_heads=2', 'generator.mlp_dim=32'),
  *('generator.num_layers=1', 'text.width=16', 'text.num_layers=1'),
  *('task.prediction_frames=3', 'data.row_multiple=2'),
]


def _resolve(kind, overrides):
  path = CONFIGS / kind / 'tiny.py'
  return experiment.resolve(str(path), overrides)


def _describe(leaf):
  return leaf.shape, leaf.dtype, leaf.sharding


def _mesh():
  return sharding.make_mesh(MeshConfig(fsdp=2), devices=jax.devices()[:2])


@pytest.mark.parametrize(
  ('kind', 'overrides', 'trained'),
  [
    (
      'tokenizer',
      [
        *('losses.adversarial=0.1', 'losses.adversary.channels=(4, 4)'),
        *('losses.adversary.judges=clips', 'losses.adversary.loss=hinge'),
        *('losses.adversary.lecam=0.1', 'losses.adversary.start=9'),
      ],
      {'discriminator', 'decoder'},
    ),
    ('tokenizer', ['tokenizer.temporal_window=2'], {'encoder', 'decoder'}),
    ('generator', ['generator.critic=self'], {'critic', 'generator'}),
    (
      'generator',
      [
        *('generator.ports.canvas=True', 'generator.ports.memory=source'),
        *(
          'generator.ports.memory_every=1',
          'generator.ports.scalars=fps,level',
        ),
        *('generator.attention=factorized', 'generator.critic=token'),
        *('task.canvas_interpolation_share=0.2', 'task.source_share=0.5'),
        *('task.canvas_enlarged_share=0.2', 'task.strides=1,2'),
        *('task.time_off_clips=0.1', 'task.time_off_images=0.5'),
        *('train.accumulate=2', 'data.row_multiple=4'),
      ],
      {'critic', 'generator'},
    ),
  ],
)
def test_options_that_no_config_sets_train(kind, overrides, trained):
  """A step of them is traced; the tests of each part have its numbers."""
  small = TOKENIZER if kind == 'tokenizer' else GENERATOR
  mesh = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
  run = assemble.assemble_abstract(
    _resolve(kind, [*small, *overrides]), mesh=mesh
  )
  key = jax.eval_shape(lambda: rng.root(0))
  grads, metrics = jax.eval_shape(
    run.task.gradients, run.state.params, run.frozen, run.batch, key
  )
  assert trained <= grads.keys()
  wanted = {'discriminator': 'scores_fake', 'critic': 'critic_accuracy'}
  assert {wanted[name] for name in trained & wanted.keys()} <= metrics.keys()
  shapes = (
    jax.tree.map(lambda leaf: leaf.shape, tree)
    for tree in (grads, run.state.params)
  )
  first, second = shapes
  assert first == second
  if 'discriminator' in trained:
    # Inflated in time.
    assert len(grads['discriminator']['first']['kernel'].shape) == 5
    assert run.task.opponents == {'discriminator': 9}


@pytest.fixture(scope='module')
def tokenizer_dir(tmp_path_factory):
  """Write the run directory of an untrained tokenizer."""
  folder = tmp_path_factory.mktemp('runs') / 'tokenizer'
  folder.mkdir()
  settings = _resolve('tokenizer', TOKENIZER)
  (folder / experiment.CONFIG_FILE).write_text(config_lib.to_json(settings))
  run = assemble.assemble_abstract(settings, mesh=_mesh())
  zeros = jax.tree.map(
    lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), run.state.params
  )
  checkpoints = Checkpoints(
    folder, keep=1, config=config_lib.to_dict(settings), identity={}
  )
  state = TrainState(
    step=jax.numpy.asarray(1),
    params=zeros,
    ema=zeros,
    opt_state={'count': jax.numpy.zeros(())},
  )
  checkpoints.save(1, state, {})
  checkpoints.close()
  return folder


@pytest.fixture
def workdir(tmp_path):
  """Make a run directory with a checkpoint, whose vocabulary is read."""
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  (tmp_path / 'checkpoints' / '1' / checkpoint_files.MANIFEST).touch()
  vocabulary = SentencePieceVocabulary.learn(['a red circle on grass'], 40)
  vocabulary.save(tmp_path / experiment.VOCABULARY_FILE)
  return tmp_path


def _assemble(kind, tokenizer_dir, workdir):
  """Assemble one run really and abstractly."""
  overrides = TOKENIZER
  if kind == 'generator':
    overrides = [*GENERATOR, f'tokenizer_dir={tokenizer_dir}']
  settings = _resolve(kind, overrides)
  described = dataclasses.replace(settings, tokenizer_dir='')
  return (
    assemble.assemble(settings, workdir=workdir, mesh=_mesh()),
    assemble.assemble_abstract(described, mesh=_mesh()),
  )


def _batch(run):
  rows = run.open_pipeline(run.experiment.data).batch(0)
  return sharding.global_batch(rows, run.mesh)


def test_abstract_run_lowers_to_the_program_of_the_real_run(
  tokenizer_dir, workdir
):
  real, abstract = _assemble('generator', tokenizer_dir, workdir)
  described = abstract.batch, abstract.frozen
  arrays = _batch(real), place_frozen(real.task, real.mesh)
  assert jax.tree.map(_describe, described) == jax.tree.map(_describe, arrays)
  assert abstract.lower().as_text() == real.lower().as_text()


@pytest.mark.parametrize(
  'kind',
  [
    'tokenizer',
    pytest.param(
      'generator', marks=[pytest.mark.slow, pytest.mark.unoptimized]
    ),
  ],
)
def test_compiled_step_of_an_abstract_run_trains_the_real_run(
  kind, tokenizer_dir, workdir
):
  real, abstract = _assemble(kind, tokenizer_dir, workdir)
  root = rng.root(real.experiment.seed)
  state = create_state(real.task, real.optimizer, real.state, root)
  described = jax.tree.map(_describe, abstract.state)
  assert described == jax.tree.map(_describe, state)
  step = abstract.lower().compile()
  frozen = place_frozen(real.task, real.mesh)
  state, metrics = step(state, _batch(real), root, frozen)
  assert int(state.step) == 1
  assert np.isfinite(metrics['loss'].sum)


def test_paper_sized_run_is_assembled_without_an_array():
  sizes = tokenizer_config.SIZES['paper']
  tokenizer = tokenizer_config.TokenizerConfig(**sizes)
  settings = config_lib.build(
    Experiment,
    {
      'kind': 'generator',
      'tokenizer': sizes,
      'text': {'width': 4096, 'num_layers': 1},
      'generator': {
        **SIZES['paper_1p8b'],
        'codebook_size': tokenizer.codebook_size,
        'grid': tokenizer.grid(11, (128, 128)),
      },
      'data': {
        'size': (128, 128),
        'frames': 11,
        'batch_size': 512,
        'image_share': 0.5,
        'row_multiple': 8,
      },
    },
  )
  mesh = sharding.make_mesh(MeshConfig(fsdp=4, tensor=2))
  before = {id(array) for array in jax.live_arrays()}
  run = assemble.assemble_abstract(settings, mesh=mesh)
  params, frozen, batch = run.state.params, run.frozen, run.batch
  assert {id(array) for array in jax.live_arrays()} <= before
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1.8e9
  assert sum(leaf.size for leaf in jax.tree.leaves(frozen)) > 5e7
  # 256 clips, and 240 images in 40 rows; no part needs padding to 4.
  assert batch['clips']['pixels'].shape == (256, 11, 128, 128, 3)
  specs = [leaf.sharding.spec for leaf in jax.tree.leaves(params)]
  assert any('fsdp' in spec and 'tensor' in spec for spec in specs)


def test_the_model_of_a_described_run_is_traced_once():
  settings = _resolve('tokenizer', TOKENIZER)
  run = assemble.assemble_abstract(settings, mesh=_mesh())
  traced = []

  class Counted(TokenizerTask):
    def init(self, rng):
      traced.append(rng)
      return super().init(rng)

  counted = dataclasses.replace(run, task=Counted(config=settings.tokenizer))
  assert counted.state.params and counted.optimizer and counted.frozen == {}
  assert len(traced) == 1


def test_batch_that_devices_do_not_divide_is_refused():
  settings = _resolve('tokenizer', [*TOKENIZER, 'data.batch_size=10'])
  mesh = sharding.make_mesh(MeshConfig())
  with pytest.raises(UserError, match='cannot be divided among'):
    assemble.assemble_abstract(settings, mesh=mesh)


def test_generator_without_a_trained_tokenizer_is_not_assembled(tmp_path):
  settings = _resolve('generator', GENERATOR)
  with pytest.raises(UserError, match='needs a trained tokenizer'):
    assemble.assemble(settings, workdir=tmp_path, mesh=_mesh())


def test_tokenizer_of_another_shape_than_its_config_is_refused(
  tokenizer_dir, workdir
):
  settings = _resolve(
    'generator', [*GENERATOR, f'tokenizer_dir={tokenizer_dir}']
  )
  tokenizer = dataclasses.replace(settings.tokenizer, mlp_dim=64)
  changed = dataclasses.replace(settings, tokenizer=tokenizer)
  with pytest.raises(UserError, match='mlp_dim is 32 there and 64'):
    assemble.assemble(changed, workdir=workdir, mesh=_mesh())


def test_a_run_starts_from_a_trained_generator(
  tiny_bundle, tiny_sampler, tmp_path
):
  models = tiny_sampler.models
  settings = Experiment(
    kind='generator',
    start_from=str(tiny_bundle),
    tokenizer=models.tokenizer,
    text=models.text,
    generator=dataclasses.replace(models.generator, critic='token'),
  )
  found = starting.starting_model(
    settings, epath.Path(tmp_path), tiny_sampler.tokenizer_params
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    found.sampler.generator_params,
    tiny_sampler.generator_params,
  )
  other = jax.tree.map(lambda x: x + 1, tiny_sampler.tokenizer_params)
  with pytest.raises(UserError, match='the tokens of another tokenizer'):
    starting.starting_model(settings, epath.Path(tmp_path), other)
  wider = dataclasses.replace(
    settings, generator=dataclasses.replace(models.generator, mlp_dim=64)
  )
  with pytest.raises(UserError, match=r'generator\.mlp_dim is 32 there and 64'):
    starting.starting_model(
      wider, epath.Path(tmp_path), tiny_sampler.tokenizer_params
    )
  # Ports may be added, and not taken away.
  ported = PortsConfig(canvas=True, patch=(2, 8, 8), scalars=('fps',))
  more = dataclasses.replace(
    settings, generator=dataclasses.replace(models.generator, ports=ported)
  )
  assert starting.starting_model(
    more, epath.Path(tmp_path), tiny_sampler.tokenizer_params
  )
  # What a killed first save leaves is no start of this run.
  begun = tmp_path / 'checkpoints' / '1'
  begun.mkdir(parents=True)
  (tmp_path / 'checkpoints' / '1.orbax-checkpoint-tmp-7').mkdir()
  assert starting.starting_model(
    settings, epath.Path(tmp_path), tiny_sampler.tokenizer_params
  )
  # A run that has begun continues from its own checkpoint.
  (begun / checkpoint_files.MANIFEST).touch()
  assert starting.starting_model(settings, epath.Path(tmp_path), {}) is None


def test_words_of_a_start_and_of_the_further_data_are_known(tokenizer_dir):
  settings = _resolve(
    'generator', [*GENERATOR, f'tokenizer_dir={tokenizer_dir}']
  )
  words = starting.words_after(Words.count(['a zog walks']), settings)
  assert set(words.unknown('a zog and a circle dance')) == {'dance'}
  # Those of an early release are not known, and are not made of half the data.
  assert starting.words_after(None, settings) is None


def test_vectors_that_no_data_hold_are_refused(tokenizer_dir, tmp_path):
  settings = _resolve(
    'generator',
    [*GENERATOR, f'tokenizer_dir={tokenizer_dir}', 'generator.text_width=32'],
  )
  with pytest.raises(UserError, match='text_width is 32, which takes vectors'):
    assemble.assemble(settings, workdir=tmp_path, mesh=_mesh())
  described = dataclasses.replace(settings, tokenizer_dir='')
  run = assemble.assemble_abstract(described, mesh=_mesh())
  assert run.batch['clips']['text_vectors'].shape[-1] == 32


SPREAD = [
  *('data.size=32,32', 'data.frames=5', 'data.context_frames=3'),
  *('task.prediction_frames=3', 'text.width=16', 'text.num_layers=1'),
  *('text.max_length=4', 'generator.width=64', 'generator.num_heads=2'),
  *('generator.mlp_dim=256', 'generator.num_layers=1', 'tokenizer.width=16'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
  *('tokenizer.num_heads=2', 'tokenizer.mlp_dim=16'),
  *('data.batch_size=48', 'data.row_multiple=8'),
]


def _flops_per_device(share, mesh):
  """Compile the gradients of a mixed batch; count what each device computes."""
  settings = _resolve('generator', [*SPREAD, f'data.image_share={share}'])
  devices = jax.devices()[: 1 if mesh == MeshConfig(data=1) else 8]
  run = assemble.assemble_abstract(
    settings, mesh=sharding.make_mesh(mesh, devices=devices)
  )
  with jax.set_mesh(run.mesh):
    lowered = jax.jit(run.task.gradients).lower(
      run.state.params, run.frozen, run.batch, rng.described()
    )
  return lowered.compile().cost_analysis()['flops'], run.task.layout


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('share', [0.0, 0.2, 0.7])
def test_devices_share_the_arithmetic_of_every_mixture(share):
  """Eight devices compute an eighth each, whatever the share of images.

  What is left over is the exchange of texts and the work of places for texts
  that are empty, which weighs more in so small a model.
  """
  alone, layout = _flops_per_device(share, MeshConfig(data=1))
  assert layout.num_rows % 8 == 0
  for mesh in (MeshConfig(fsdp=-1, data=1), MeshConfig(data=4, fsdp=2)):
    each, spread = _flops_per_device(share, mesh)
    assert spread.num_rows == layout.num_rows and spread.groups == 8
    assert 0.98 < 8 * each / alone < 1.1


@pytest.mark.slow
@pytest.mark.unoptimized
def test_losses_do_not_depend_on_the_mesh():
  """Rows of clips and images are the same examples in another order."""
  losses = []
  for mesh in (MeshConfig(data=1), MeshConfig(data=4, fsdp=2)):
    settings = _resolve('generator', [*SPREAD, 'data.image_share=0.4'])
    devices = jax.devices()[: 1 if mesh == MeshConfig(data=1) else 8]
    run = assemble.assemble_abstract(
      settings, mesh=sharding.make_mesh(mesh, devices=devices)
    )
    bits = np.random.default_rng(0)

    def draw(leaf, bits=bits):
      values = bits.normal(size=leaf.shape) / 4
      if leaf.dtype != np.float32:
        values = bits.integers(1, 5, leaf.shape)
      return jax.device_put(values.astype(leaf.dtype), leaf.sharding)

    params, frozen = jax.tree.map(draw, (run.state.params, run.frozen))
    # The examples of both meshes are the same; only their padding differs.
    counts = run.task.num_examples(run.batch)
    batch = {}
    for part, arrays in run.batch.items():
      batch[part] = {}
      for name, leaf in arrays.items():
        shape = (counts[part], *leaf.shape[1:])
        values = bits.integers(1, 4, shape).astype(leaf.dtype)
        if name == 'num_frames':
          values = values // 2 * 2 + 1
        if name == 'context_frames':
          values[:] = 0
        padded = np.resize(values, leaf.shape)
        batch[part][name] = jax.device_put(padded, leaf.sharding)
    with jax.set_mesh(run.mesh):
      loss, _ = jax.jit(run.task.loss)(params, frozen, batch, rng.root(1))
    losses.append(float(loss))
  assert losses[1] == pytest.approx(losses[0], rel=1e-5)
