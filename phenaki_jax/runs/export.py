"""Export a trained generator and its tokenizer as a bundle."""

import dataclasses
import json
import logging
import os

import jax
from etils import epath

import phenaki_jax
from phenaki_jax import config as config_lib
from phenaki_jax.errors import NotFoundError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.export.bundle import StoredDtype
from phenaki_jax.export.programs import Source, write_programs
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import open as models
from phenaki_jax.runs.experiment import (
  VOCABULARY_FILE,
  WORDS_FILE,
  Experiment,
)
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.trained_tokenizer import TrainedTokenizer, read_tokenizer
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.training import checkpoints

_log = logging.getLogger(__name__)

_SCORES_FILE = 'scores.md'
_LARGEST_ENCODER = 10**9  # bytes of a frozen text encoder in a bundle


def export(
  run_dir: epath.PathLike,
  out: epath.PathLike,
  *,
  dtype: StoredDtype = 'float32',
  scores: epath.PathLike | None = None,
  tokenizer: epath.PathLike | None = None,
  encoder: epath.PathLike | None = None,
  note: str = '',
) -> Model:
  """Write a bundle of a generator, and open it to check that it is complete.

  Args:
    run_dir: run directory of the generator.
    out: folder of the bundle; an older bundle there is replaced.
    dtype: of the arrays on disk, 'float32', 'float16' or 'int8'.
    tokenizer: run directory of the tokenizer, if it is not where the config of
      the generator says.
    encoder: checkpoint of the frozen text encoder, if it is not where the
      config says. The bundle holds an encoder of at most a billion bytes; a
      larger one has to be given again when the bundle is opened elsewhere.
    scores: folder of an evaluation, whose tables the model card repeats.
    note: a sentence for the model card.

  Returns:
    The model as the bundle holds it.

  Raises:
    UserError: there is no such run or evaluation, the tokenizer has changed
      since the generator was trained on it, or `out` holds something else.
  """
  folder = epath.Path(run_dir)
  tables = '' if scores is None else _tables(epath.Path(scores))
  # Checks that the parts fit together.
  model = models.load(os.fspath(folder), tokenizer=tokenizer, encoder=encoder)
  params = dict(model.sampler.generator_params)
  experiment = experiment_lib.read(folder)
  place = tokenizer or experiment_lib.find_tokenizer(experiment, folder)
  generator = checkpoints.load_params(folder)
  if experiment.text.is_frozen:
    leaves = jax.tree.leaves(params['text'])
    size = sum(leaf.nbytes for leaf in leaves)
    if size > _LARGEST_ENCODER:
      del params['text']
      _log.warning(
        'The bundle lacks its frozen text encoder, which has %.3g GB; where it '
        'is opened, %s must exist or --encoder must name the checkpoint.',
        size / 1e9,
        experiment.text.encoder,
      )
  words = folder / WORDS_FILE
  frozen = read_tokenizer(place)
  bundle_lib.write_bundle(
    out,
    tokenizer_params=frozen.params,
    generator_params=params,
    config=config_lib.to_dict(models.describe(experiment)),
    vocabulary=(folder / VOCABULARY_FILE).read_bytes(),
    words=words.read_bytes() if words.is_file() else b'',
    model_card=_model_card(
      experiment,
      frozen,
      steps=generator.step,
      tables=tables,
      note=note,
    ),
    dtype=dtype,
  )
  return models.load(out, encoder=None if 'text' in params else encoder)


def export_programs(
  model: Model,
  out: str | os.PathLike[str],
  *,
  export_again: str,
  steps: int | None = None,
  savedmodel: bool = False,
) -> float:
  """Export the networks of a model as programs, and compare their frames.

  Args:
    model: the model.
    out: folder to write; an older export there is replaced.
    export_again: the command that writes this folder.
    steps: decoding steps; by default those of the model.
    savedmodel: write a SavedModel of TensorFlow instead of StableHLO.

  Returns:
    The share of pixels that differ by 1 from those of the model.

  Raises:
    UserError: the frames differ by more, the extra `tf` is missing, or `out`
      holds something else.
  """
  defaults, settings = model.defaults, model.defaults.settings
  if steps is not None:
    settings = dataclasses.replace(settings, steps=steps)
  vocabulary = model.sampler.vocabulary
  assert isinstance(vocabulary, SentencePieceVocabulary)
  write = write_programs
  if savedmodel:
    from phenaki_jax.export.saved_model import write_saved_model as write
  source = Source(
    sampler=model.sampler,
    size=defaults.size,
    fps=defaults.fps,
    context_frames=defaults.context_frames,
    settings=settings,
    vocabulary=vocabulary.model,
    origin={'model': {'name': model.name, 'fingerprint': model.fingerprint}},
    export_again=export_again,
  )
  return write(out, source)


def _tables(folder: epath.Path) -> str:
  path = folder / _SCORES_FILE
  if not path.is_file():
    raise NotFoundError(
      f'there is no {path}; name the --out folder of `phenaki evaluate`'
    )
  return path.read_text(encoding='utf-8')


def _model_card(
  experiment: Experiment,
  tokenizer: TrainedTokenizer,
  *,
  steps: int,
  tables: str,
  note: str,
) -> str:
  """Return the model card of a generator and its tokenizer, in Markdown."""
  data = experiment.data
  sources = ', '.join(source.name for source in data.sources)
  rows = [
    f'# {experiment.name or "A story model"}',
    'A C-ViViT tokenizer and a masked transformer with its text encoder, '
    f'trained with phenaki_jax {phenaki_jax.__version__}. Its videos are '
    'AI-generated.',
  ]
  if note:
    rows.append(note)
  rows += [
    '## Training',
    f'- data: {sources}, clips of {data.frames} frames of '
    f'{data.size[0]}x{data.size[1]} pixels at {data.fps:g} frames per second',
    f'- tokenizer: {tokenizer.training}',
    f'- generator: `{experiment.name}`, {steps:,} steps of '
    f'{data.batch_size} examples ({data.image_share:.0%} images)',
    '- weights: the exponential moving average',
  ]
  for title, part in (
    ('Tokenizer', experiment.tokenizer),
    ('Generator', experiment.generator),
    ('Text encoder', experiment.text),
    ('Sampling', experiment.sampling),
  ):
    values = json.dumps(config_lib.to_dict(part), indent=1, sort_keys=True)
    rows += [f'### {title}', f'```json\n{values}\n```']
  if tables:
    rows += ['## Scores', tables.strip()]
  return '\n\n'.join(rows) + '\n'
