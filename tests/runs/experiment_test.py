"""Experiments are resolved from configs, validated, written and read."""

import json
import pathlib

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import validation
from phenaki_jax.runs.assemble import encoded_grid
from phenaki_jax.runs.open import describe

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
TOKENIZER = str(CONFIGS / 'tokenizer' / 'tiny.py')
GENERATOR = str(CONFIGS / 'generator' / 'tiny.py')


def _keep(experiment, folder):
  folder.mkdir(exist_ok=True)
  path = folder / experiment_lib.CONFIG_FILE
  path.write_text(config_lib.to_json(experiment))
  return folder


@pytest.fixture
def tokenizer_dir(tmp_path):
  overrides = ['tokenizer.fsq_levels=4,4,4', 'tokenizer.patch=4,4']
  experiment = experiment_lib.resolve(TOKENIZER, overrides)
  return _keep(experiment, tmp_path / 'tokenizer')


def test_generator_takes_its_shapes_from_the_tokenizer(tokenizer_dir):
  experiment = experiment_lib.resolve(
    GENERATOR, [f'tokenizer_dir={tokenizer_dir}', 'data.frames=17']
  )
  assert experiment.generator.codebook_size == 64
  assert experiment.generator.grid == (9, 8, 8)
  assert experiment.tokenizer == experiment_lib.read(tokenizer_dir).tokenizer


def test_windows_of_a_generator_are_shorter_than_the_clips_of_its_data(
  tokenizer_dir, tmp_path
):
  overrides = [f'tokenizer_dir={tokenizer_dir}', 'data.frames=17']
  overrides += ['task.midway_frames=8', 'task.midway_share=0.5']
  experiment = experiment_lib.resolve(GENERATOR, overrides)
  validation.validate(experiment, num_devices=1)
  wrong = experiment_lib.resolve(
    GENERATOR, [*overrides, 'data.context_frames=9']
  )
  with pytest.raises(UserError, match=r'frames=17 less task\.midway_frames=8'):
    validation.validate(wrong, num_devices=1)
  assert experiment.generator.grid == (5, 8, 8)
  assert encoded_grid(experiment) == (9, 8, 8)
  # Whoever opens the model sees clips of its own length.
  assert experiment.clip_frames == describe(experiment).data.frames == 9
  folder = _keep(experiment, tmp_path / 'generator')
  content, _ = experiment_lib.content_of('--model', str(folder))
  assert content['data']['frames'] == 9
  tokenizer = experiment_lib.resolve(TOKENIZER, overrides[1:])
  with pytest.raises(
    UserError, match='midway_frames is 8, but windows are cut'
  ):
    validation.validate(tokenizer, num_devices=1)


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    (
      'generator.codebook_size=1024',
      r'generator\.codebook_size is 1024, but the tokenizer in .* makes it 64',
    ),
    ('generator.grid=5,4,4', r'generator\.grid is .*makes it \[5, 8, 8\]'),
    ('tokenizer.patch=8,8', r'tokenizer\.patch is .*makes it \[4, 4\]'),
    ('data.size=30,32', 'height of 30 pixels is not a multiple of the patch'),
  ],
)
def test_generator_cannot_contradict_its_tokenizer(
  tokenizer_dir, override, sentence
):
  overrides = [f'tokenizer_dir={tokenizer_dir}', override]
  with pytest.raises(UserError, match=sentence):
    experiment_lib.resolve(GENERATOR, overrides)


def test_generator_refuses_a_generator_as_its_tokenizer(
  tokenizer_dir, tmp_path
):
  generator = experiment_lib.resolve(
    GENERATOR, [f'tokenizer_dir={tokenizer_dir}']
  )
  folder = _keep(generator, tmp_path / 'generator')
  with pytest.raises(UserError, match='is the run of a generator'):
    experiment_lib.resolve(GENERATOR, [f'tokenizer_dir={folder}'])


def test_generator_without_a_trained_tokenizer_takes_the_described_one():
  overrides = ['tokenizer.patch=4,8', 'tokenizer.fsq_levels=4,4,4']
  experiment = experiment_lib.resolve(GENERATOR, overrides)
  assert experiment.generator.codebook_size == 64
  assert experiment.generator.grid == (5, 8, 4)
  validation.validate(experiment, num_devices=1)
  with pytest.raises(UserError, match=r'the tokenizer makes it \[5, 8, 4\]'):
    experiment_lib.resolve(GENERATOR, [*overrides, 'generator.grid=5,4,4'])


def test_generator_needs_a_trained_tokenizer_to_train():
  experiment = experiment_lib.resolve(GENERATOR)
  with pytest.raises(UserError, match='needs a trained tokenizer'):
    validation.check_tokenizer_dir(experiment)


@pytest.mark.parametrize(
  ('overrides', 'sentence'),
  [
    (['data.size=32,36'], 'a width of 36 pixels is not a multiple'),
    (['data.batch_size=15'], r'15 with .* cannot be divided among 4 devices'),
    (['mesh.data=3'], r'does not fit 4 device'),
    (['data.row_multiple=8'], 'only the batch of a generator is packed'),
  ],
)
def test_validate_refuses(overrides, sentence):
  with pytest.raises(UserError, match=sentence):
    validation.validate(
      experiment_lib.resolve(TOKENIZER, overrides), num_devices=4
    )


def test_validate_counts_processes():
  experiment = experiment_lib.resolve(
    TOKENIZER, ['data.batch_size=4', 'data.image_share=0.25', 'mesh.tensor=2']
  )
  with pytest.raises(UserError, match='cannot be divided among 2 processes'):
    validation.validate(experiment, num_devices=2, process_count=2)


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('data.context_frames=9', r'data\.context_frames is 9, but a clip has'),
    ('task.prediction_frames=11', r'task\.prediction_frames is 11'),
    ('text.max_length=1', 'at least 2 ids'),
  ],
)
def test_validate_refuses_a_generator(tokenizer_dir, override, sentence):
  overrides = [f'tokenizer_dir={tokenizer_dir}', override]
  with pytest.raises(UserError, match=sentence):
    validation.validate(
      experiment_lib.resolve(GENERATOR, overrides), num_devices=1
    )


def test_read_refuses_a_folder_that_is_no_run(tmp_path):
  with pytest.raises(FileNotFoundError, match='is not a run directory'):
    experiment_lib.read(tmp_path)


def test_read_names_the_file_that_is_broken(tmp_path):
  (tmp_path / experiment_lib.CONFIG_FILE).write_text('{"kind": "tokenizer",')
  with pytest.raises(UserError, match=r'config\.json: not a JSON config'):
    experiment_lib.read(tmp_path)


def test_read_translates_the_names_of_an_earlier_release(tmp_path):
  data = {'cache': 'tokens', 'cache_bytes': 5}
  (tmp_path / experiment_lib.CONFIG_FILE).write_text(
    json.dumps({'kind': 'tokenizer', 'data': data})
  )
  found = experiment_lib.read(tmp_path).data
  assert (found.token_cache, found.frame_cache_bytes) == ('tokens', 5)


@pytest.mark.parametrize('seed', [-1, 2**32, 2**64])
@pytest.mark.parametrize('name', ['seed', 'data.seed'])
def test_seeds_have_32_bits(name, seed):
  with pytest.raises(UserError, match=rf'{name} is {seed}'):
    experiment_lib.resolve(TOKENIZER, [f'{name}={seed}'])
  experiment_lib.resolve(TOKENIZER, [f'{name}={2**32 - 1}'])


def test_tokenizer_dir_is_kept_relative_to_the_run(
  tokenizer_dir, tmp_path, monkeypatch
):
  kept = []
  (tmp_path / 'deep').mkdir()
  (tmp_path / 'runs' / 'generator').mkdir(parents=True)
  (tmp_path / 'link').symlink_to('runs/generator')
  for folder, place, workdir in (
    (tmp_path, 'tokenizer', 'runs/generator'),
    (tmp_path / 'deep', '../tokenizer', '../runs/generator'),
    (tmp_path, str(tokenizer_dir), str(tmp_path / 'runs' / 'generator')),
    (tmp_path, 'tokenizer', 'link'),
  ):
    monkeypatch.chdir(folder)
    given = experiment_lib.resolve(GENERATOR, [f'tokenizer_dir={place}'])
    experiment = experiment_lib.saved(given, workdir)
    kept.append(experiment.tokenizer_dir)
    found = experiment_lib.find_tokenizer(experiment, workdir)
    assert found.resolve() == tokenizer_dir.resolve()
  assert set(kept) == {'../../tokenizer'}
  monkeypatch.setenv('HOME', str(tmp_path))
  given = experiment_lib.resolve(GENERATOR, ['tokenizer_dir=~/tokenizer'])
  assert given.tokenizer_dir == str(tokenizer_dir)
  assert experiment_lib.saved(given, 'gs://bucket/run') == given


def test_a_critic_alone_needs_a_trained_generator(tokenizer_dir):
  def check(*overrides):
    experiment = experiment_lib.resolve(
      GENERATOR,
      [f'tokenizer_dir={tokenizer_dir}', 'task.trained=critic', *overrides],
    )
    validation.validate(experiment, num_devices=1)

  with pytest.raises(UserError, match="'critic', but the generator has none"):
    check()
  with pytest.raises(UserError, match='needs a trained generator: --set'):
    check('generator.critic=self')
  check('generator.critic=self', 'start_from=runs/generator')


def test_the_canvas_has_the_patches_of_the_tokenizer(tokenizer_dir):
  def resolved(*overrides):
    return experiment_lib.resolve(
      GENERATOR, [f'tokenizer_dir={tokenizer_dir}', *overrides]
    )

  assert resolved().generator.ports.patch is None
  canvas = 'generator.ports.canvas=True'
  experiment = resolved(canvas, 'task.canvas_region_share=0.2')
  assert experiment.generator.ports.patch == (2, 4, 4)
  validation.validate(experiment, num_devices=1)
  text = config_lib.to_json(experiment)
  assert config_lib.from_json(experiment_lib.Experiment, text) == experiment
  told = 'generator.ports.memory=source,history,character'
  shares = 'task.history_share=0.5', 'task.character_share=0.5'
  experiment = resolved(told, *shares)
  validation.validate(experiment, num_devices=1)
  with pytest.raises(UserError, match=r'patch is \[2, 8, 8\], but the tok'):
    resolved(canvas, 'generator.ports.patch=2,8,8')
  for overrides, words in (
    (['task.canvas_region_share=0.2'], 'needs a canvas'),
    (
      [told, 'task.history_share=0.5', 'data.clip_captions=False'],
      'captions of earlier scenes are not read',
    ),
    (
      [told, 'task.history_share=0.5', 'data.continuation_share=0'],
      'no clip of StoryWorld has an earlier scene',
    ),
    (
      [told, 'task.character_share=0.5', 'data.continuation_share=0'],
      'task.character_share is 0.5, but data.continuation_share is 0',
    ),
    (
      [canvas, 'task.canvas_region_share=0.2', 'data.token_cache=tokens'],
      'task.canvas_region_share is 0.2, which takes the pixels',
    ),
  ):
    with pytest.raises(UserError, match=words):
      validation.validate(resolved(*overrides), num_devices=1)
