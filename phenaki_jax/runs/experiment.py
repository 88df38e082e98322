"""The complete description of one training run.

A config file resolves into an `Experiment`, which the run directory keeps as
`config.json`; every later command reads it from there. The layers below `runs`
receive only the parts that concern them.
"""

import dataclasses
import os
from collections.abc import Collection, Iterable
from typing import Any, Literal

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.data.config import DataConfig
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.export.bundle import find_model, is_bundle
from phenaki_jax.files.paths import is_remote
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.reader.config import CharactersConfig, ReaderConfig
from phenaki_jax.runs.frozen_text import resolve_text
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.losses import TokenizerLossWeights
from phenaki_jax.training.compatibility import with_current_names
from phenaki_jax.training.config import (
  OptimConfig,
  TrainConfig,
  WandbConfig,
)
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig

CONFIG_FILE = 'config.json'
VOCABULARY_FILE = 'vocab.model'
WORDS_FILE = 'words.json'
# The guidance that a student can learn, and those of its settings that do
# nothing in a student.
_PLAIN_GUIDANCE: dict[str, Any] = {
  'guidance_schedule': 'constant',
  'negative': '',
  'time_guidance': 1.0,
}


@config_lib.validated
class Experiment:
  """One training run.

  Attributes:
    kind: which of the models is trained.
    name: name of the run, for display.
    seed: seed of the initial parameters and of all random draws of the steps,
      0 to 2**32 - 1.
    tokenizer_dir: run directory of the tokenizer, for a generator or for the
      diffusion of latents, or a bundle whose tokenizer it has. A relative path
      is relative to the current directory in a command, and to the run
      directory in the config.json there (see `saved` and `find_tokenizer`).
    start_from: trained generator (a run directory or a bundle) whose parameters
      a new run of a generator starts from. It must have the same tokenizer,
      text encoder and masked transformer; a critic, ports, words and a prompt
      may be added. A run of a diffusion model starts from a diffusion model
      that reads text, to which ports, words and a prompt may be added. It is
      read once, when the run starts.
    start_word: word that it knows, from whose embedding that of new words
      (`text.words`) starts; empty for the mean of the pieces that each of them
      was before.
    data: the data of the batches.
    tokenizer: shape of the tokenizer that is trained, or used by a generator.
    losses: weights of the tokenizer's loss.
    text: shape of the text encoder, and the size of the vocabulary; or where a
      frozen encoder is.
    generator: shape of the masked transformer.
    task: how the generator's training examples are made.
    distillation: the generator that the generator learns from, if any.
    sampling: default sampling settings of the generator.
    reader: shape of the reader of the sprite world, and its sheets.
    diffusion: shape of the diffusion model, and what it denoises. Its examples
      are made as `task` says of those of a generator.
    characters: labelled stories, of which a reader learns the characters.
    optim: the optimizer.
    train: the length of the run, and how often it logs, saves and evaluates.
    mesh: number of devices on each mesh axis.
    wandb: where Weights & Biases keeps the results too, if anywhere.
  """

  kind: Literal['tokenizer', 'generator', 'reader', 'diffusion']
  name: str = ''
  seed: config_lib.Seed = 0
  tokenizer_dir: str = ''
  start_from: str = ''
  start_word: str = ''
  data: DataConfig = DataConfig()
  tokenizer: TokenizerConfig = TokenizerConfig()
  losses: TokenizerLossWeights = TokenizerLossWeights()
  text: TextConfig = TextConfig()
  generator: GeneratorConfig = GeneratorConfig()
  task: GeneratorTaskConfig = GeneratorTaskConfig()
  distillation: DistillationConfig = DistillationConfig()
  sampling: SamplingSettings = SamplingSettings()
  reader: ReaderConfig = ReaderConfig()
  diffusion: DiffusionConfig = DiffusionConfig()
  characters: CharactersConfig = CharactersConfig()
  optim: OptimConfig = OptimConfig()
  train: TrainConfig = TrainConfig()
  mesh: MeshConfig = MeshConfig()
  wandb: WandbConfig = WandbConfig()

  @property
  def uses_tokenizer(self) -> bool:
    """Return whether the run reads a trained tokenizer."""
    is_latent = self.diffusion.values == 'latents'
    return self.kind == 'generator' or (self.kind == 'diffusion' and is_latent)

  @property
  def clip_frames(self) -> int:
    """Return the frames of a clip of the model; those of the data are more."""
    return self.data.frames - self.task.midway_frames

  @property
  def reads_text(self) -> bool:
    """Return whether the model reads captions."""
    reads = self.diffusion.reads_text
    return self.kind == 'generator' or (self.kind == 'diffusion' and reads)


def resolve(spec: str, overrides: Iterable[str] = ()) -> Experiment:
  """Resolve `config.py[:arg]` and overrides into an experiment.

  The shapes of a generator that follow from its tokenizer (codebook and token
  grid) and from a frozen text encoder are filled in, and so are the channels of
  latents. The diffusion of pixels gets the grid of its coarsest stage. The
  tokenizer is read from the run in `tokenizer_dir`; if that is empty, it is the
  one that the config describes.

  Raises:
    UserError: the config or an override is wrong, or contradicts the
      tokenizer that was trained.
    FileNotFoundError: the config or the tokenizer does not exist.
  """
  return resolve_values(config_lib.load(spec), overrides)


def resolve_values(config: Any, overrides: Iterable[str] = ()) -> Experiment:
  """Resolve the values of a config, or of a part of it; see `resolve`."""
  values = _taught(config_lib.override(Experiment, config, overrides))
  experiment = config_lib.build(Experiment, values)
  if experiment.kind not in ('generator', 'diffusion'):
    return experiment
  folder, data = os.path.expanduser(experiment.tokenizer_dir), experiment.data
  tokenizer, source = experiment.tokenizer, 'the tokenizer'
  if folder and experiment.uses_tokenizer:
    folder = os.fspath(find_model(folder))
    values['tokenizer_dir'] = folder
    tokenizer = tokenizer_config(folder)
    source = f'the tokenizer in {folder}'
  derived: dict[str, Any] = {'tokenizer': tokenizer}
  if experiment.kind == 'generator':
    derived['generator'] = {
      'codebook_size': tokenizer.codebook_size,
      'code_levels': tokenizer.code_levels,
      'grid': tokenizer.grid(experiment.clip_frames, data.size),
    }
    given = values.get('generator') or {}
    if experiment.distillation.teacher or (
      experiment.start_from and 'code_levels' in given
    ):
      # It has those of another, which may predict ids as a whole.
      del derived['generator']['code_levels']
    patch = [tokenizer.tubelet, *tokenizer.patch]
    _set_patch(values, 'generator', patch, source)
  elif experiment.uses_tokenizer:
    derived['diffusion'] = {'channels': tokenizer.latent_width}
    side = experiment.diffusion.patch
    rows, columns = tokenizer.patch
    patch = [tokenizer.tubelet, side * rows, side * columns]
    _set_patch(values, 'diffusion', patch, source)
  else:
    side, source = experiment.diffusion.divisor, 'the diffusion of pixels'
    derived['tokenizer'] = {'tubelet': 1, 'patch': (side, side)}
    patch = [1, experiment.diffusion.patch, experiment.diffusion.patch]
    _set_patch(values, 'diffusion', patch, source)
  if experiment.reads_text and experiment.text.is_frozen:
    text = resolve_text(experiment.text)
    values['text'] = config_lib.to_dict(text)
  if experiment.kind == 'generator' and experiment.text.is_frozen:
    width = experiment.generator.text_width
    if width not in (None, text.width):
      raise UserError(
        f'generator.text_width is {width}, but the frozen text encoder makes '
        f'vectors of {text.width}; leave generator.text_width out, or name '
        'another encoder'
      )
    values.setdefault('generator', {})['text_width'] = text.width
  for group, fields in config_lib.to_dict(derived).items():
    section = values.setdefault(group, {})
    for name, value in fields.items():
      if section.setdefault(name, value) != value:
        raise UserError(
          f'{group}.{name} is {section[name]}, but {source} makes it {value}; '
          f'leave {group}.{name} out, or name another tokenizer_dir'
        )
  return config_lib.build(Experiment, values)


def _set_patch(
  values: dict[str, Any], kind: str, patch: list[int], source: str
) -> None:
  """Set the patches of a canvas to what one position of the network sees."""
  ports = (values.get(kind) or {}).get('ports') or {}
  if not ports.get('canvas'):
    return
  if list(ports.get('patch') or patch) != patch:
    raise UserError(
      f'{kind}.ports.patch is {ports["patch"]}, but {source} makes it '
      f'{patch}; leave it out, or name another tokenizer_dir'
    )
  ports['patch'] = patch


def _taught(values: dict[str, Any]) -> dict[str, Any]:
  """Fill in what a student has of its teacher, where the config says nothing.

  Raises:
    NotFoundError: there is no such teacher.
    UserError: it is no generator.
  """
  teaching = values.get('distillation') or {}
  name = teaching.get('teacher')
  if not name or values.get('kind') != 'generator':
    return values
  content, tokenizer = content_of('distillation.teacher', name)
  sampling = config_lib.build(SamplingSettings, content['sampling'])
  guidance = teaching.get('guidance', sampling.guidance)
  _check_guidance(f'distillation.teacher={name}', sampling, guidance)
  unguided = dataclasses.replace(
    sampling,
    guidance=0.0,
    steps=teaching.get('steps') or sampling.steps,
    **_PLAIN_GUIDANCE,
  )
  ports = content['generator'].get('ports') or {}
  recalls = 'history' in (ports.get('memory') or ())
  made = {
    'distillation': {
      'guidance': guidance,
      'temperature': sampling.temperature or 1.0,
    },
    'sampling': config_lib.to_dict(unguided),
    # A student is sampled with prompts, and with a history if it reads one.
    'task': {'text_dropout': 0.0, 'history_share': float(recalls)},
    **{group: content[group] for group in ('data', 'text', 'generator')},
  }
  made['generator'] = {**made['generator'], 'critic': 'none'}
  for group, fields in made.items():
    values[group] = {**fields, **(values.get(group) or {})}
  values['tokenizer_dir'] = values.get('tokenizer_dir') or tokenizer
  return values


def content_of(
  setting: str, name: str, kinds: Collection[str] = ('generator',)
) -> tuple[dict[str, Any], str]:
  """Read the config of a trained model, and where its tokenizer is.

  Args:
    setting: that names the model, for messages.
    name: a run directory, a bundle or the name of one.
    kinds: of models that are allowed.

  Returns:
    The config, whose `kind` is one of `kinds`, and the folder of its
    tokenizer; '' for a run without one.

  Raises:
    NotFoundError: there is no such model.
    UserError: it is a model of another kind.
  """
  folder = find_model(name)
  if is_bundle(folder):
    # That of a generator names no kind.
    content = {'kind': 'generator', **_content(folder)}
    _check_kind(content['kind'], f'{setting}={name}', kinds)
    return content, os.fspath(folder)
  trained = read(folder)
  _check_kind(trained.kind, f'{setting}={name}', kinds)
  place = ''
  if trained.uses_tokenizer:
    place = os.fspath(find_tokenizer(trained, folder))
  content = config_lib.to_dict(trained)
  # Clips of the length of the model, as a bundle has them.
  content['data'] = {**content['data'], 'frames': trained.clip_frames}
  return content, place


def _check_kind(kind: str, model: str, kinds: Collection[str]) -> None:
  if kind not in kinds:
    raise UserError(
      f'{model} is a model of kind {kind!r}; name a {" or ".join(kinds)}: its '
      'run directory or a bundle'
    )


def _check_guidance(
  teacher: str, sampling: SamplingSettings, guidance: float
) -> None:
  """Raise a UserError for guidance that a student cannot learn."""
  # Without guidance by text, the other two settings do nothing.
  acting = _PLAIN_GUIDANCE if guidance else ('time_guidance',)
  found = [
    f'sampling.{name}={getattr(sampling, name)!r}'
    for name in acting
    if getattr(sampling, name) != _PLAIN_GUIDANCE[name]
  ]
  if found:
    raise UserError(
      f'{teacher} is sampled with {", ".join(found)}, but a student '
      'learns a constant guidance away from the empty text alone; name a '
      'teacher that is sampled without'
    )


def tokenizer_config(folder: epath.PathLike) -> TokenizerConfig:
  """Read the shape of a tokenizer from its run directory or from a bundle.

  Raises:
    NotFoundError: the folder is neither.
    UserError: it is the run of another model, or its config is not valid.
  """
  if is_bundle(folder):
    return config_lib.build(TokenizerConfig, _content(folder)['tokenizer'])
  trained = read(folder)
  if trained.kind != 'tokenizer':
    raise UserError(
      f'tokenizer_dir={folder} is the run of a {trained.kind}; name the run '
      'directory of a tokenizer'
    )
  return trained.tokenizer


def _content(folder: epath.PathLike) -> dict[str, Any]:
  """Return the config of a bundle."""
  content = config_lib.parse_json(
    (epath.Path(folder) / CONFIG_FILE).read_text()
  )
  return with_current_names(content)


def saved(experiment: Experiment, workdir: epath.PathLike) -> Experiment:
  """Return the experiment as the run directory keeps it.

  A local `tokenizer_dir` becomes relative to the run directory. The config
  then does not depend on the current directory, and a run may be moved together
  with its tokenizer.
  """
  place = experiment.tokenizer_dir
  if not place or is_remote(place) or is_remote(workdir):
    return experiment
  # A symbolic link to a tokenizer is kept, not resolved.
  parent, name = os.path.split(os.path.abspath(place))
  target = os.path.join(os.path.realpath(parent), name)
  relative = os.path.relpath(target, os.path.realpath(workdir))
  return dataclasses.replace(experiment, tokenizer_dir=relative)


def find_tokenizer(
  experiment: Experiment, workdir: epath.PathLike
) -> epath.Path:
  """Return the run directory of a saved generator's tokenizer.

  A relative `tokenizer_dir` is relative to the run directory. Configs of
  earlier releases hold it relative to the directory in which the command was
  started, which is tried next.

  Args:
    experiment: read from the run directory.
    workdir: the run directory.

  Raises:
    NotFoundError: the tokenizer is in neither place.
  """
  place = os.path.expanduser(experiment.tokenizer_dir)
  beside = epath.Path(workdir) / place
  if not is_remote(beside):
    beside = epath.Path(os.path.realpath(beside))
  places = [beside, epath.Path(place)]
  for folder in places:
    if (folder / CONFIG_FILE).is_file():
      return folder
  tried = ' and '.join(dict.fromkeys(str(folder) for folder in places))
  raise NotFoundError(
    f'the tokenizer of {workdir} is not at {tried}; name its run directory '
    'with --tokenizer DIR'
  )


def read(folder: epath.PathLike) -> Experiment:
  """Read the experiment of a run directory.

  Raises:
    NotFoundError: the folder is not a run directory.
    UserError: its config is not valid in this version.
  """
  path = epath.Path(folder) / CONFIG_FILE
  if not path.is_file():
    raise NotFoundError(
      f'{folder} is not a run directory: it has no {CONFIG_FILE}; name the '
      '--workdir of a `phenaki train` command'
    )
  try:
    values = config_lib.parse_json(path.read_text())
    if isinstance(values, dict):
      values = with_current_names(values)
    return config_lib.build(Experiment, values)
  except UserError as error:
    raise UserError(f'{path}: {error}') from error
