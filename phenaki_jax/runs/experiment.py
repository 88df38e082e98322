"""The complete configuration of a training run.

A config file resolves into an `Experiment`, which a run directory keeps as
`config.json` for every later command. Only `runs` and `cli` see an experiment;
everything else receives the part that concerns it.
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any, Literal

from phenaki_jax import config as config_lib
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.mixture import compose
from phenaki_jax.errors import NotFoundError, UserError
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
  """The configuration of one training run.

  Attributes:
    kind: the model that is trained.
    name: of the run, for logs and model cards.
    seed: of the initial parameters and of the random choices of every step.
    tokenizer_dir: run directory of the trained tokenizer, for a generator.
    data: the data and the composition of a batch.
    tokenizer: the tokenizer; for a generator, the one it is trained on.
    losses: weights of the tokenizer's loss terms.
    text: the text encoder and the size of its vocabulary.
    generator: the masked transformer.
    task: masking, text dropout and prediction from a prefix.
    sampling: the default sampling settings of the trained generator.
    optim: the optimizer.
    train: number of steps; intervals of logging, saving and evaluating.
    mesh: the devices along each mesh axis.
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

  The shapes of a generator that follow from its tokenizer (codebook and token
  grid) are filled in. The tokenizer is the one trained in `tokenizer_dir`, or
  the one that the config describes if `tokenizer_dir` is empty.

  Raises:
    UserError: the config or an override is wrong or contradicts the tokenizer,
      or there is no such config or tokenizer.
  """
  config = config_lib.load(spec)
  values = config_lib.override(Experiment, config, overrides)
  if values.get('kind') == 'generator':
    _derive_from_tokenizer(values)
  return config_lib.build(Experiment, values)


def _derive_from_tokenizer(values: dict[str, Any]) -> None:
  """Fill in what the tokenizer determines; raise where values contradict it."""
  folder = values.get('tokenizer_dir')
  source = f'the tokenizer in {folder}' if folder else 'the tokenizer'
  section = values.setdefault('tokenizer', {})
  if folder:
    trained = read(folder)
    if trained.kind != 'tokenizer':
      raise UserError(
        f'tokenizer_dir={folder} is the run of a {trained.kind}; name the run '
        'directory of a tokenizer'
      )
    known = config_lib.to_dict(trained.tokenizer)
    _fill(section, known, 'tokenizer', source)
  tokenizer = config_lib.build(TokenizerConfig, section, where='tokenizer')
  data = config_lib.build(DataConfig, values.get('data', {}), where='data')
  derived = {
    'codebook_size': tokenizer.codebook_size,
    'code_levels': list(tokenizer.code_levels),
    'grid': list(tokenizer.grid(data.frames, data.size)),
  }
  _fill(values.setdefault('generator', {}), derived, 'generator', source)


def _fill(
  section: Any, derived: dict[str, Any], name: str, source: str
) -> None:
  if not isinstance(section, dict):
    return  # `config.build` reports it.
  for key, value in derived.items():
    given = section.get(key, value)
    given = list(given) if isinstance(given, tuple) else given
    if given != value:
      raise UserError(
        f'{name}.{key} is {given}, but {source} makes it {value}; leave '
        f'{name}.{key} out, or name another tokenizer_dir'
      )
    section[key] = value


def validate(
  experiment: Experiment, *, num_devices: int, process_count: int = 1
) -> None:
  """Check the rules that span several parts of an experiment.

  Args:
    experiment: a resolved experiment.
    num_devices: number of devices of all processes together.
    process_count: number of processes of the run.

  Raises:
    UserError: two parts contradict each other.
  """
  data, tokenizer = experiment.data, experiment.tokenizer
  grid = tokenizer.grid(data.frames, data.size)
  _check_batch(experiment, num_devices, process_count)
  if experiment.kind == 'tokenizer':
    return
  names = (
    ('data.context_frames', data.context_frames),
    ('task.prediction_frames', experiment.task.prediction_frames),
  )
  for name, frames in names:
    if frames >= data.frames:
      raise UserError(
        f'{name} is {frames}, but a clip has data.frames={data.frames}; it '
        'must be less, so that there are frames to predict'
      )
    if (frames - 1) % tokenizer.tubelet:
      raise UserError(
        f'{name} is {frames}; it must be 1 + k * {tokenizer.tubelet}, so that '
        'it ends at the end of a latent frame'
      )
  if experiment.text.max_length < 2:
    raise UserError(
      f'text.max_length is {experiment.text.max_length}; it must be '
      'at least 2: one token id and the end of text'
    )
  assert grid == experiment.generator.grid, 'resolve derives one from the other'


def check_tokenizer_dir(experiment: Experiment) -> None:
  """Raise a UserError for a generator that names no trained tokenizer."""
  if experiment.kind == 'generator' and not experiment.tokenizer_dir:
    raise UserError(
      'a generator needs a trained tokenizer: --set tokenizer_dir=DIR, the '
      '--workdir of `phenaki train` with a tokenizer config'
    )


def _check_batch(
  experiment: Experiment, num_devices: int, process_count: int
) -> None:
  """Check that devices and processes divide each part of the batch."""
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
          f'be divided among {divisor} {what}. Both counts must be multiples '
          f'of {divisor}'
        )


def read(folder: str | pathlib.Path) -> Experiment:
  """Read the experiment of a run directory.

  Raises:
    NotFoundError: the folder is no run directory.
    UserError: its config is of another version of this package.
  """
  path = pathlib.Path(folder) / CONFIG_FILE
  if not path.is_file():
    raise NotFoundError(
      f'{folder} is no run directory: it has no {CONFIG_FILE}; name the '
      '--workdir of a `phenaki train`'
    )
  try:
    return config_lib.from_json(Experiment, path.read_text())
  except UserError as error:
    raise UserError(f'{path}: {error}') from error
