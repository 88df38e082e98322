"""Open a trained story model, wherever it lies.

A model is a bundle (see `export.bundle`) or the run directory of a generator,
whose tokenizer is found through its config. Without a name it is the
reference bundle that ships with the package. Either way the arrays are
compared with the shapes that the configs describe before anything runs.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.errors import UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.files.digests import digest_json
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.experiment import VOCABULARY_FILE, Experiment
from phenaki_jax.sampling.sampler import Models, Sampler, SamplingSettings
from phenaki_jax.stories.script import StoryDefaults
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import checkpoints, compatibility
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryModel:
  """Hold a model that is ready to tell stories.

  Attributes:
    name: where it came from, for people.
    fingerprint: names its arrays, configs and vocabulary; the same for the
      same content.
    sampler: makes the clips.
    defaults: size, speed, context and settings it was made for.
    subset: the part of StoryWorld it was trained on; empty if on other data.
  """

  name: str
  fingerprint: str
  sampler: Sampler
  defaults: StoryDefaults
  subset: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryModelConfig:
  """Describe a story model; what `config.json` of a bundle holds.

  Attributes:
    name: of the model, for people.
    tokenizer: the tokenizer's shape.
    generator: the masked transformer's shape.
    text: the text encoder's shape.
    data: what it was trained on.
    sampling: the settings that suit it.
  """

  name: str = ''
  tokenizer: TokenizerConfig
  generator: GeneratorConfig
  text: TextConfig
  data: DataConfig
  sampling: SamplingSettings = SamplingSettings()


def describe(experiment: Experiment) -> StoryModelConfig:
  """Return what a bundle keeps of a generator's experiment."""
  return StoryModelConfig(
    name=experiment.name,
    tokenizer=experiment.tokenizer,
    generator=experiment.generator,
    text=experiment.text,
    data=experiment.data,
    sampling=experiment.sampling,
  )


def load(path: str | os.PathLike[str] | None = None) -> StoryModel:
  """Open a bundle or a generator's run directory.

  Args:
    path: the folder; None for the reference bundle.

  Raises:
    FileNotFoundError: there is no such folder, or nothing of ours in it.
    UserError: the model is damaged, its parts do not fit together, or the
      tokenizer has changed since the generator was trained on it.
    CheckpointError: the run has no checkpoint yet.
  """
  folder = bundle_lib.reference_dir() if path is None else pathlib.Path(path)
  if not folder.is_dir():
    raise FileNotFoundError(
      f'there is no folder {folder}; name a bundle or the --workdir that a '
      'generator was trained in, or leave --model out for the reference model'
    )
  if (folder / experiment_lib.CONFIG_FILE).is_file() and (
    folder / 'checkpoints'
  ).is_dir():
    return _from_run(folder)
  return _from_bundle(folder)


def _from_bundle(folder: pathlib.Path) -> StoryModel:
  bundle = bundle_lib.load_bundle(folder)
  try:
    config = config_lib.build(StoryModelConfig, bundle.config)
  except ValueError as error:
    raise UserError(
      f'the config of {folder} describes no story model: {error}'
    ) from error
  return _model(
    config,
    name=config.name or folder.name,
    where=folder,
    tokenizer_params=bundle.tokenizer_params,
    generator_params=bundle.generator_params,
    vocabulary=SentencePieceVocabulary(bundle.vocabulary),
    fingerprint=bundle.fingerprint,
  )


def _from_run(folder: pathlib.Path) -> StoryModel:
  experiment = experiment_lib.read(folder)
  if experiment.kind != 'generator':
    raise UserError(
      f'{folder} is the run of a {experiment.kind}; name the run of a '
      'generator, which knows its tokenizer'
    )
  generator = checkpoints.load_params(folder)
  tokenizer = checkpoints.load_params(experiment.tokenizer_dir)
  tokenizer_digest = digest_tree(tokenizer.params)
  trained_on = generator.identity.get(compatibility.FROZEN)
  if trained_on != tokenizer_digest:
    raise UserError(
      f'the generator in {folder} was trained on the tokens of another '
      f'tokenizer than that in {experiment.tokenizer_dir}, which is at step '
      f'{tokenizer.step} (parameters {trained_on} then, {tokenizer_digest} '
      'now); put back the tokenizer of that time, or train a new generator. '
      '`phenaki export` keeps the two together'
    )
  config = describe(experiment)
  vocabulary = SentencePieceVocabulary.from_file(folder / VOCABULARY_FILE)
  _log.info('Read %s at step %d.', folder, generator.step)
  return _model(
    config,
    name=f'{experiment.name or folder.name} at step {generator.step}',
    where=folder,
    tokenizer_params=tokenizer.params,
    generator_params=generator.params,
    vocabulary=vocabulary,
    fingerprint=digest_json(
      [
        config_lib.to_dict(config),
        tokenizer_digest,
        digest_tree(generator.params),
        vocabulary.model.hex(),
      ]
    ),
  )


def _model(
  config: StoryModelConfig,
  *,
  name: str,
  where: pathlib.Path,
  tokenizer_params: Any,
  generator_params: Any,
  vocabulary: SentencePieceVocabulary,
  fingerprint: str,
) -> StoryModel:
  """Put the parts together, after checking that they fit."""
  models = Models(
    tokenizer=config.tokenizer, generator=config.generator, text=config.text
  )
  if vocabulary.size > config.text.vocab_size:
    raise UserError(
      f'{where}: the vocabulary has {vocabulary.size} ids, but the text '
      f'encoder knows {config.text.vocab_size}; use the vocab.model of this run'
    )
  data = config.data
  grid = config.tokenizer.grid(data.frames, data.size)
  if grid != config.generator.grid:
    raise UserError(
      f'{where}: clips of {data.frames} frames of {data.size} make a token '
      f'grid of {grid}, but the generator has {config.generator.grid}; its '
      'config was changed by hand'
    )
  tokenizer_task = TokenizerTask(config=config.tokenizer)
  generator_task = GeneratorTask(
    config=config.generator,
    text=config.text,
    tokenizer=config.tokenizer,
    tokenizer_params={},
  )
  for what, task, params in (
    ('tokenizer', tokenizer_task, tokenizer_params),
    ('generator', generator_task, generator_params),
  ):
    _check_arrays(f'{where}: the {what}', task, params)
  return StoryModel(
    name=name,
    fingerprint=fingerprint,
    sampler=Sampler(
      models=models,
      tokenizer_params=jax.tree.map(jax.numpy.asarray, tokenizer_params),
      generator_params=jax.tree.map(jax.numpy.asarray, generator_params),
      vocabulary=vocabulary,
    ),
    defaults=StoryDefaults(
      size=data.size,
      fps=data.fps,
      context_frames=data.context_frames,
      settings=config.sampling,
    ),
    subset=next(
      (one.subset for one in data.sources if one.layout == 'storyworld'), ''
    ),
  )


def _check_arrays(what: str, task: Any, params: Mapping[str, Any]) -> None:
  """Raise a UserError unless the arrays are those of the described model."""
  boxed = jax.eval_shape(task.init, jax.random.key(0))
  expected = _shapes(sharding.unbox(boxed))
  found = _shapes(params)
  if expected == found:
    return
  wrong = sorted(
    f'{name} is {found.get(name, "missing")} and should be '
    f'{expected.get(name, "absent")}'
    for name in expected.keys() | found.keys()
    if expected.get(name) != found.get(name)
  )
  more = f', and {len(wrong) - 2} more' if len(wrong) > 2 else ''
  raise UserError(
    f'{what} does not fit its config: {"; ".join(wrong[:2])}{more}. The '
    'config or the arrays are of another model.'
  )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
  return {
    name: tuple(leaf.shape)
    for name, leaf in flatten_dict(dict(params), sep='/').items()
  }
