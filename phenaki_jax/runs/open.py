"""Open a trained story model.

A model is a bundle (see `export.bundle`) or the run directory of a generator,
whose config names the run directory of its tokenizer. The default is the
reference bundle that ships with the package. The shapes of all arrays are
compared with the configs before anything runs.
"""

import dataclasses
import logging
from typing import Any, TypeVar

import jax
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.files.digests import digest_json
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.experiment import (
  VOCABULARY_FILE,
  WORDS_FILE,
  Experiment,
)
from phenaki_jax.runs.frozen_text import load_text
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.trained_tokenizer import read_tokenizer
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.story import ModelDefaults
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.text.words import Words
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import checkpoints, compatibility
from phenaki_jax.training.checkpoint_files import FOLDER as CHECKPOINTS_FOLDER
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.state import Task
from phenaki_jax.training.tokenizer_task import TokenizerTask

_log = logging.getLogger(__name__)

Shape = TypeVar('Shape', TokenizerConfig, GeneratorConfig)
Config = TypeVar('Config', Experiment, 'StoryModelConfig')

# Captions of StoryWorld that have all of its words.
_NUM_CAPTIONS = 2_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryModelConfig:
  """Description of a story model: the `config.json` of a bundle.

  Attributes:
    name: of the model, for people.
    tokenizer: architecture of the tokenizer.
    generator: architecture of the masked transformer.
    text: architecture of the text encoder.
    data: the training data, with clips of the length of the model.
    sampling: default sampling settings.
  """

  name: str = ''
  tokenizer: TokenizerConfig
  generator: GeneratorConfig
  text: TextConfig
  data: DataConfig
  sampling: SamplingSettings = SamplingSettings()


def describe(experiment: Experiment) -> StoryModelConfig:
  """Return the part of a generator's experiment that a bundle holds."""
  names = [field.name for field in dataclasses.fields(StoryModelConfig)]
  values = {name: getattr(experiment, name) for name in names}
  frames = experiment.clip_frames
  values['data'] = dataclasses.replace(experiment.data, frames=frames)
  return without_caches(StoryModelConfig(**values))


def without_caches(config: Config) -> Config:
  """Leave out where the caches of a training are.

  They are folders of one machine, and no frame depends on them.
  """
  text = config.text
  if text.source and text.encoder:  # A cache of text names its encoder.
    text = dataclasses.replace(text, source='', vocabulary='')
  data = dataclasses.replace(config.data, token_cache='')
  return dataclasses.replace(config, data=data, text=text)


def load(
  path: epath.PathLike | None = None,
  *,
  tokenizer: epath.PathLike | None = None,
  encoder: epath.PathLike | None = None,
  step: int | None = None,
) -> Model:
  """Open a bundle or the run directory of a generator.

  Args:
    path: the folder, local or in a bucket; 'storyworld' or 'lpc' for a bundle
      that ships with the package; None for 'storyworld'.
    tokenizer: run directory of the tokenizer, for the run of a generator
      whose tokenizer is not where its config says.
    encoder: checkpoint of the frozen text encoder, for a model that has one
      which is neither in the bundle nor where its config says.
    step: of the checkpoint of a run; None for the newest intact one.

  Raises:
    NotFoundError: there is no such folder.
    UserError: the folder holds no model, the model is damaged, its parts do
      not fit together, or the tokenizer has changed since the generator was
      trained on it.
    CheckpointError: the run has no checkpoint yet.
  """
  folder = (
    epath.Path(bundle_lib.reference_dir())
    if path is None
    else bundle_lib.find_model(path)
  )
  if not folder.is_dir():
    raise NotFoundError(
      f'there is no folder {folder}; name a bundle or the --workdir of a '
      'trained generator, or storyworld or lpc, which ship with the package'
    )
  is_run = (folder / experiment_lib.CONFIG_FILE).is_file() and (
    folder / CHECKPOINTS_FOLDER
  ).is_dir()
  if tokenizer is not None and not is_run:
    raise UserError(
      f'the bundle {folder} holds its own tokenizer; leave --tokenizer out'
    )
  bundle = (
    _read_run(folder, tokenizer, encoder, step)
    if is_run
    else bundle_lib.load_bundle(folder)
  )
  if 'diffusion' in bundle.config:
    raise UserError(
      f'{folder} is the bundle of a diffusion model; name that of a generator '
      '(phenaki story and phenaki edit open diffusion models, phenaki edit '
      'enlarge and phenaki evaluate those of super-resolution)'
    )
  try:
    values = compatibility.with_current_names(bundle.config)
    config = config_lib.build(StoryModelConfig, values)
  except UserError as error:
    raise UserError(
      f'the config of {folder} describes no story model: {error}'
    ) from error
  models = Models(
    tokenizer=_fast(config.tokenizer),
    generator=_fast(config.generator),
    text=config.text,
  )
  if encoder is not None and not config.text.is_frozen:
    raise UserError(
      f'{folder} was trained with a text encoder of its own; leave --encoder '
      'out'
    )
  if not is_run:
    params = _with_encoder(bundle.generator_params, config.text, encoder)
    bundle = dataclasses.replace(bundle, generator_params=params)
  vocabulary = SentencePieceVocabulary(bundle.vocabulary)
  _check(folder, config, bundle, vocabulary)
  data = config.data
  sampler = Sampler(
    models=models,
    tokenizer_params=jax.tree.map(jax.numpy.asarray, bundle.tokenizer_params),
    generator_params=jax.tree.map(jax.numpy.asarray, bundle.generator_params),
    vocabulary=vocabulary,
    fps=data.fps,
  )
  return Model(
    name=config.name or folder.name,
    fingerprint=bundle.fingerprint,
    sampler=sampler if data.clip_captions else StillFirst(sampler=sampler),
    defaults=ModelDefaults(
      size=data.size,
      fps=data.fps,
      context_frames=data.context_frames,
      clip_frames=sampler.clip_frames,
      tubelet=config.tokenizer.tubelet,
      settings=config.sampling,
    ),
    data=data,
    subset=next(
      (one.subset for one in data.sources if one.layout == 'storyworld'), ''
    ),
    words=_words(folder, bundle.words, config),
    license=bundle.license,
  )


def _fast(config: Shape) -> Shape:
  """Return a config that is computed in float32 on a CPU.

  Most CPUs multiply bfloat16 more slowly than float32.
  """
  if sharding.platform() == 'cpu':
    return dataclasses.replace(config, dtype='float32')
  return config


def _words(
  folder: epath.Path, content: bytes, config: StoryModelConfig
) -> Words | None:
  """Read the words of the captions; None if they are not known.

  Models of earlier releases have no file of words. Captions of StoryWorld are
  generated, so that the words of models trained on it alone can be counted.
  """
  if content:
    try:
      return Words.from_json(content)
    except UserError as error:
      raise UserError(f'{folder}: {WORDS_FILE} is damaged: {error}') from error
  if any(source.layout != 'storyworld' for source in config.data.sources):
    return None
  pipeline = Pipeline(
    config.data,
    lambda caption: np.zeros(1, np.int32),
    tubelet=config.tokenizer.tubelet,
    text_length=1,
  )
  return Words.count(pipeline.captions(_NUM_CAPTIONS))


def _with_encoder(
  params: Any, text: TextConfig, encoder: epath.PathLike | None
) -> Any:
  """Add the parameters of a frozen text encoder that are not there yet."""
  if not text.is_frozen or ('text' in params and encoder is None):
    return params
  return {**params, 'text': load_text(text, encoder)[0]}


def _read_run(
  folder: epath.Path,
  tokenizer_dir: epath.PathLike | None,
  encoder: epath.PathLike | None,
  step: int | None,
) -> bundle_lib.Bundle:
  """Read the content of a bundle from the run directory of a generator."""
  experiment = experiment_lib.read(folder)
  if experiment.kind != 'generator':
    raise UserError(
      f'{folder} is the run of a {experiment.kind}; name the run of a '
      'generator, whose config names its tokenizer'
    )
  generator = checkpoints.load_params(folder, step=step)
  place = tokenizer_dir or experiment_lib.find_tokenizer(experiment, folder)
  tokenizer = read_tokenizer(place)
  tokenizer_digest = digest_tree(tokenizer.params)
  text = experiment.text
  params = _with_encoder(generator.params, text, encoder)
  frozen = tokenizer_digest
  if text.encodes_in_step:
    frozen = digest_tree({**tokenizer.params, 'text': params['text']})
  trained_on = generator.identity.get(compatibility.FROZEN)
  if trained_on != frozen:
    raise UserError(
      f'the generator in {folder} was trained on the tokens of another '
      f'tokenizer than that in {place}, which is '
      f'{tokenizer.place} (parameters {trained_on} then, {frozen} '
      'now); restore the tokenizer of that time, or train a new generator. '
      '`phenaki export` keeps the two together'
    )
  config = config_lib.to_dict(describe(experiment))
  vocabulary = SentencePieceVocabulary.from_file(folder / VOCABULARY_FILE).model
  words = folder / WORDS_FILE
  generator_digest = digest_tree(generator.params)
  _log.info('Read %s at step %d.', folder, generator.step)
  name = f'{experiment.name or folder.name} at step {generator.step}'
  return bundle_lib.Bundle(
    tokenizer_params=tokenizer.params,
    generator_params=params,
    config={**config, 'name': name},
    vocabulary=vocabulary,
    model_card='',
    words=words.read_bytes() if words.is_file() else b'',
    fingerprint=digest_json(
      [config, tokenizer_digest, generator_digest, vocabulary.hex()]
    ),
  )


def _check(
  folder: epath.Path,
  config: StoryModelConfig,
  bundle: bundle_lib.Bundle,
  vocabulary: SentencePieceVocabulary,
) -> None:
  """Raise a UserError unless the parts of a model fit together."""
  if vocabulary.size > config.text.num_ids:
    raise UserError(
      f'{folder}: the vocabulary has {vocabulary.size} ids, but the text '
      f'encoder has {config.text.num_ids}; use the vocab.model of this run'
    )
  data = config.data
  grid = config.tokenizer.grid(data.frames, data.size)
  if grid != config.generator.grid:
    raise UserError(
      f'{folder}: clips of {data.frames} frames of {data.size} have a '
      f'token grid of {grid}, but the generator has '
      f'{config.generator.grid}; the config was edited by hand'
    )
  tasks: dict[str, Any] = {
    'tokenizer': TokenizerTask(config=config.tokenizer),
    'generator': GeneratorTask(
      # A model has the parameters of a frozen text encoder like others.
      config=dataclasses.replace(config.generator, text_width=None)
      if config.text.is_frozen
      else config.generator,
      text=config.text,
      tokenizer=config.tokenizer,
      tokenizer_params={},
    ),
  }
  for name, task in tasks.items():
    check_arrays(folder, name, task, getattr(bundle, f'{name}_params'))


def check_arrays(
  folder: epath.PathLike, name: str, task: Task, params: Any
) -> None:
  """Raise a UserError unless arrays have the shapes that a task makes."""
  boxed = jax.eval_shape(task.init, jax.random.key(0))
  expected, found = _shapes(sharding.unbox(boxed)), _shapes(params)
  wrong = sorted(
    f'{path} is {found.get(path, "missing")} and should be '
    f'{expected.get(path, "absent")}'
    for path in expected.keys() | found.keys()
    if expected.get(path) != found.get(path)
  )
  if wrong:
    more = f', and {len(wrong) - 2} more' if len(wrong) > 2 else ''
    raise UserError(
      f'{folder}: the {name} does not fit its config: '
      f'{"; ".join(wrong[:2])}{more}. The config or the arrays belong to '
      'another model.'
    )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
  return {
    name: tuple(leaf.shape)
    for name, leaf in flatten_dict(dict(params), sep='/').items()
  }
