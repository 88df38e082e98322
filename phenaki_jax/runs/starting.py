"""What a run starts from: its vocabulary, a tokenizer, another model."""

import contextlib
from typing import Any

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs import open as open_lib
from phenaki_jax.runs.experiment import (
  VOCABULARY_FILE,
  WORDS_FILE,
  Experiment,
)
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.pipelines import open_pipeline
from phenaki_jax.runs.trained_tokenizer import read_tokenizer
from phenaki_jax.text.config import PLACES
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.text.words import Words
from phenaki_jax.training import checkpoint_files
from phenaki_jax.training.checkpoint_manifest import digest_tree

# Number of captions from which a vocabulary is learned; more would change
# little.
_NUM_CAPTIONS = 10_000
# Settings in which a run may differ from the model that it starts from: its
# critic is another network, ports, words and a prompt may be added, and the
# others change no parameters.
_FREE = (
  *('ports', 'words', 'prompt'),
  *('critic', 'critic_layers', 'dropout', 'remat', 'dtype', *PLACES),
  'attention_kernel',
)


def is_started(workdir: epath.Path) -> bool:
  """Return whether a run directory has a checkpoint."""
  return bool(checkpoint_files.finished(workdir / checkpoint_files.FOLDER))


def starting_model(
  experiment: Experiment, workdir: epath.Path, tokenizer_params: Any
) -> Model | None:
  """Open the generator that a new run starts from, if it names one."""
  if not experiment.start_from or is_started(workdir):
    return None
  return _fitting(
    'start_from', experiment.start_from, experiment, tokenizer_params
  )


def teacher_of(experiment: Experiment, tokenizer_params: Any) -> Model | None:
  """Open the generator that a run learns from, if it names one."""
  teacher = experiment.distillation.teacher
  if not teacher:
    return None
  setting = 'distillation.teacher'
  model = _fitting(setting, teacher, experiment, tokenizer_params)
  theirs, ours = model.sampler.models, experiment
  for group, name in (
    *(('generator', 'ports'), ('generator', 'prompt'), ('text', 'words')),
  ):
    there, here = (getattr(getattr(x, group), name) for x in (theirs, ours))
    if there != here:
      raise UserError(
        f'{setting}={teacher} has {group}.{name} {there}, and this run {here}; '
        f'a student has the {name} of its teacher, so leave {group}.{name} out'
      )
  return model


def _fitting(
  setting: str, place: str, experiment: Experiment, tokenizer_params: Any
) -> Model:
  """Open a generator that must have the networks of an experiment."""
  model = open_lib.load(place, encoder=experiment.text.encoder or None)
  models = model.sampler.models
  differing = differing_settings(
    {'text': models.text, 'generator': models.generator},
    {'text': experiment.text, 'generator': experiment.generator},
  )
  if not differing and digest_tree(model.sampler.tokenizer_params) != (
    digest_tree(tokenizer_params)
  ):
    differing = ['it was trained on the tokens of another tokenizer']
  if differing:
    raise UserError(
      f'{setting}={place} does not fit this run: '
      f'{"; ".join(differing)}; give the settings of that generator'
    )
  return model


def differing_settings(
  there: dict[str, Any], here: dict[str, Any]
) -> list[str]:
  """Return in which settings a run differs from its start, as sentences.

  Args:
    there, here: the configs of the networks of both, by group. Ports, words
      and a prompt may be added.
  """
  found = config_lib.to_dict(there)
  differing = sorted(
    f'{group}.{name} is {found[group][name]} there and {value} here'
    for group, fields in config_lib.to_dict(here).items()
    for name, value in fields.items()
    if found[group][name] != value and name not in _FREE
  )
  for group, config in here.items():
    ports = getattr(there[group], 'ports', None)
    if ports is not None and not config.ports.extends(ports):
      differing.append(
        f'{group}.ports is {ports} there, of which this run lacks or changes a '
        'part'
      )
    length = getattr(there[group], 'prompt', 0)
    if length and length != config.prompt:
      differing.append(
        f'{group}.prompt is {length} there and {config.prompt} here'
      )
  theirs, ours = there['text'].words, here['text'].words
  if ours[: len(theirs)] != theirs:
    differing.append(
      f'text.words is {list(theirs)} there, with which {list(ours)} must begin'
    )
  return differing


def vocabulary_of(
  experiment: Experiment, workdir: epath.Path
) -> tuple[SentencePieceVocabulary, Words | None]:
  """Read the vocabulary and words, or learn them when the run starts."""
  path = workdir / VOCABULARY_FILE
  if path.is_file() and is_started(workdir):
    vocabulary = SentencePieceVocabulary(path.read_bytes())
    return vocabulary, read_words(workdir)
  # Every process learns the same vocabulary; the first process writes it.
  captions = captions_of(experiment)
  size = experiment.text.vocab_size
  if not experiment.text.is_frozen:
    vocabulary = SentencePieceVocabulary.learn(captions, size)
    return vocabulary, Words.count(captions)
  place = experiment.text.vocabulary
  vocabulary = SentencePieceVocabulary.from_file(place)
  if vocabulary.size > size:
    raise UserError(
      f'{place} has {vocabulary.size} ids, but the text encoder has {size}; '
      'name its own vocabulary'
    )
  return vocabulary, Words.count(captions)


def captions_of(experiment: Experiment) -> list[str]:
  """Return captions of the training data, from which words are counted."""
  with contextlib.closing(
    open_pipeline(experiment, experiment.data, None)
  ) as pipeline:
    return list(pipeline.captions(_NUM_CAPTIONS))


def words_after(known: Words | None, experiment: Experiment) -> Words | None:
  """Return the words that a start knows, and those of the data of this run.

  None stays None: the words of the data alone would be too few.
  """
  if known is None:
    return None
  return known.joined(Words.count(captions_of(experiment)))


def read_words(workdir: epath.PathLike) -> Words | None:
  """Read the words of a run's captions; runs of earlier releases have none.

  Raises:
    UserError: the file is damaged.
  """
  path = epath.Path(workdir) / WORDS_FILE
  if not path.is_file():
    return None
  try:
    return Words.from_json(path.read_bytes())
  except UserError as error:
    raise UserError(f'{path}: {error}; delete it') from error


def tokenizer_params(experiment: Experiment) -> Any:
  """Read the trained tokenizer and check that it has the expected shape."""
  trained = read_tokenizer(experiment.tokenizer_dir)
  expected = config_lib.to_dict(experiment.tokenizer)
  saved = config_lib.to_dict(trained.config)
  differing = sorted(
    f'{key} is {saved.get(key)} there and {value} in its config.json'
    for key, value in expected.items()
    if saved.get(key) != value
  )
  if differing:
    raise UserError(
      f'the checkpoint in {experiment.tokenizer_dir} is of another tokenizer: '
      f'{"; ".join(differing)}; train it again or name another tokenizer_dir'
    )
  return trained.params
