"""One run, whole: what is trained, on what, how, and where.

A config file resolves into an `Experiment`, which is also what a run directory
keeps as `config.json`; every later command reads it from there. The parts are
handed to those they concern: nothing outside `cli` sees an experiment.
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any, Literal

from phenaki_jax import config as config_lib
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.mixture import compose
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.losses import TokenizerLossWeights
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.generator_task import GeneratorTaskConfig

CONFIG_FILE = 'config.json'
VOCABULARY_FILE = 'vocab.model'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """Describe one training run.

  Attributes:
    kind: which of the two models is trained.
    name: of the run, for people.
    seed: of the first parameters and of every draw of a step.
    tokenizer_dir: run directory of the tokenizer, for a generator.
    data: what the batches are.
    tokenizer: shape of the tokenizer; of a generator, that of its tokenizer.
    losses: weights of the tokenizer's loss.
    text: shape of the text encoder, and the size of the vocabulary.
    generator: shape of the masked transformer.
    task: how the generator's examples are made.
    sampling: settings that suit the generator, used where none are given.
    optim: the optimizer.
    train: length and rhythm.
    mesh: devices.
  """

  kind: Literal['tokenizer', 'generator']
  name: str = ''
  seed: int = 0
  tokenizer_dir: str = ''
  data: DataConfig = DataConfig()
  tokenizer: TokenizerConfig = TokenizerConfig()
  losses: TokenizerLossWeights = TokenizerLossWeights()
  text: TextConfig = TextConfig()
  generator: GeneratorConfig = GeneratorConfig()
  task: GeneratorTaskConfig = GeneratorTaskConfig()
  sampling: SamplingSettings = SamplingSettings()
  optim: OptimConfig = OptimConfig()
  train: TrainConfig = TrainConfig()
  mesh: MeshConfig = MeshConfig()


def resolve(spec: str, overrides: Iterable[str] = ()) -> Experiment:
  """Resolve `config.py[:arg]` and overrides into an experiment.

  A generator's `tokenizer` and the shapes that follow from it are read from
  the run in its `tokenizer_dir`; without one they keep what the config says.

  Raises:
    UserError: the config or an override is wrong, or contradicts the
      tokenizer that was trained.
    FileNotFoundError: there is no such config or no such tokenizer.
  """
  config = config_lib.load(spec)
  values = config_lib.override(Experiment, config, overrides)
  if values.get('kind') == 'generator' and values.get('tokenizer_dir'):
    _take_from_tokenizer(values, pathlib.Path(values['tokenizer_dir']))
  return config_lib.build(Experiment, values)


def _take_from_tokenizer(values: dict[str, Any], folder: pathlib.Path) -> None:
  """Fill what a trained tokenizer decides; refuse what contradicts it."""
  trained = read(folder)
  if trained.kind != 'tokenizer':
    raise UserError(
      f'tokenizer_dir={folder} is the run of a {trained.kind}; name the run '
      'directory of a tokenizer'
    )
  section = values.setdefault('tokenizer', {})
  if isinstance(section, dict):
    _fill(section, config_lib.to_dict(trained.tokenizer), 'tokenizer', folder)
  data = config_lib.build(DataConfig, values.get('data', {}), where='data')
  derived = {
    'codebook_size': trained.tokenizer.codebook_size,
    'code_levels': list(trained.tokenizer.code_levels),
    'grid': list(trained.tokenizer.grid(data.frames, data.size)),
  }
  section = values.setdefault('generator', {})
  if isinstance(section, dict):
    _fill(section, derived, 'generator', folder)


def _fill(
  section: dict[str, Any], derived: dict[str, Any], name: str, folder: Any
) -> None:
  for key, value in derived.items():
    given = section.get(key, value)
    given = list(given) if isinstance(given, tuple) else given
    if given != value:
      raise UserError(
        f'{name}.{key} is {given}, but the tokenizer in {folder} makes it '
        f'{value}; leave {name}.{key} out, or name another tokenizer_dir'
      )
    section[key] = value


def validate(
  experiment: Experiment, *, num_devices: int, process_count: int = 1
) -> None:
  """Check the rules that span several parts of an experiment.

  Args:
    experiment: a resolved experiment.
    num_devices: devices of all processes together.
    process_count: processes of the run.

  Raises:
    UserError: says what does not fit, and what would.
  """
  data, tokenizer = experiment.data, experiment.tokenizer
  steps, _, _ = tokenizer.grid(data.frames, data.size)
  _check_batch(experiment, num_devices, process_count)
  if experiment.kind == 'tokenizer':
    return
  if not experiment.tokenizer_dir:
    raise UserError(
      'a generator needs a trained tokenizer: --set tokenizer_dir=DIR, the '
      '--workdir of `phenaki train` with a tokenizer config'
    )
  names = (
    ('data.context_frames', data.context_frames),
    ('task.prediction_frames', experiment.task.prediction_frames),
  )
  for name, frames in names:
    if frames >= data.frames:
      raise UserError(
        f'{name} is {frames}, but a clip has data.frames={data.frames}; the '
        'known frames must be fewer, so that something is left to learn'
      )
    if (frames - 1) % tokenizer.tubelet:
      raise UserError(
        f'{name} is {frames}; it must be 1 + k * {tokenizer.tubelet} frames, '
        'so that it ends where a latent step ends'
      )
  if experiment.text.max_length < 2:
    raise UserError(
      f'text.max_length is {experiment.text.max_length}; a caption needs at '
      'least 2 ids, one of them its end'
    )
  assert steps == experiment.generator.grid[0]


def _check_batch(
  experiment: Experiment, num_devices: int, process_count: int
) -> None:
  """Check that each part of the batch divides over devices and processes."""
  data = experiment.data
  over_data, over_fsdp, _ = experiment.mesh.shape(num_devices)
  ways = over_data * over_fsdp
  composition = compose(
    batch_size=data.batch_size,
    image_share=data.image_share,
  )
  parts = (('clips', composition.num_clips), ('images', composition.num_images))
  for part, count in parts:
    for divisor, what in ((ways, 'devices'), (process_count, 'processes')):
      if count % divisor:
        raise UserError(
          f'data.batch_size={data.batch_size} with data.image_share='
          f'{data.image_share} is {composition.num_clips} clips and '
          f'{composition.num_images} images a step; the {count} {part} cannot '
          f'be divided among {divisor} {what}. Choose both counts as '
          f'multiples of {divisor}'
        )


def read(folder: str | pathlib.Path) -> Experiment:
  """Read the experiment that a run directory keeps.

  Raises:
    FileNotFoundError: the folder holds no run.
    UserError: its config is not of this version.
  """
  path = pathlib.Path(folder) / CONFIG_FILE
  if not path.is_file():
    raise FileNotFoundError(
      f'{folder} is no run directory: it has no {CONFIG_FILE}; name the '
      '--workdir of a `phenaki train`'
    )
  try:
    return config_lib.from_json(Experiment, path.read_text())
  except ValueError as error:
    raise UserError(f'{path}: {error}') from error
