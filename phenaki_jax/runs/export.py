"""Export a trained generator with its tokenizer, or a diffusion model."""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

import phenaki_jax
from phenaki_jax import config as config_lib
from phenaki_jax.data.config import DataConfig
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.export.bundle import StoredDtype
from phenaki_jax.export.programs import Source, write_programs
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import open as models
from phenaki_jax.runs.diffusion import (
  Trained,
  bundle_config,
  is_diffusion,
  load_any,
  read_trained,
)
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
  license: str = '',
) -> Model | Trained:
  """Write a bundle of a model, and open it to check that it is complete.

  Args:
    run_dir: run directory of a generator, or of a diffusion model.
    out: folder of the bundle; an older bundle there is replaced.
    dtype: of the arrays on disk, 'float32', 'float16' or 'int8'.
    tokenizer: run directory of the tokenizer, if it is not where the config of
      the generator says.
    encoder: checkpoint of the frozen text encoder, if it is not where the
      config says. The bundle holds an encoder of at most a billion bytes; a
      larger one has to be given again when the bundle is opened elsewhere.
    scores: folder of an evaluation, whose tables the model card repeats.
    note: a sentence for the model card.
    license: of the weights and of what they make; see `bundle.Bundle`.

  Returns:
    The model as the bundle holds it.

  Raises:
    UserError: there is no such run or evaluation, the tokenizer has changed
      since the generator was trained on it, or `out` holds something else.
  """
  folder = epath.Path(run_dir)
  if not (folder / experiment_lib.CONFIG_FILE).is_file():
    missing = 'no model in' if folder.is_dir() else 'no folder'
    raise NotFoundError(
      f'there is {missing} {run_dir}; name the --workdir of a generator or a '
      'diffusion model'
    )
  tables = '' if scores is None else _tables(epath.Path(scores))
  if is_diffusion(folder):
    return _export_diffusion(
      folder,
      out,
      dtype=dtype,
      tokenizer=tokenizer,
      encoder=encoder,
      more=(note, tables),
      license=license,
    )
  # Checks that the parts fit together.
  model = models.load(os.fspath(folder), tokenizer=tokenizer, encoder=encoder)
  params = dict(model.sampler.generator_params)
  experiment = experiment_lib.read(folder)
  place = tokenizer or experiment_lib.find_tokenizer(experiment, folder)
  generator = checkpoints.load_params(folder)
  params = _without_large_encoder(experiment, params)
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
    license=license,
    dtype=dtype,
  )
  return models.load(out, encoder=None if 'text' in params else encoder)


def _without_large_encoder(
  experiment: Experiment, params: dict[str, Any]
) -> dict[str, Any]:
  """Leave out a frozen text encoder that is too large for a bundle."""
  if not experiment.text.is_frozen:
    return params
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(params['text']))
  if size <= _LARGEST_ENCODER:
    return params
  _log.warning(
    'The bundle lacks its frozen text encoder, which has %.3g GB; where it '
    'is opened, %s must exist or --encoder must name the checkpoint.',
    size / 1e9,
    experiment.text.encoder,
  )
  return {name: tree for name, tree in params.items() if name != 'text'}


def _export_diffusion(
  folder: epath.Path,
  out: epath.PathLike,
  *,
  dtype: StoredDtype,
  tokenizer: epath.PathLike | None,
  encoder: epath.PathLike | None,
  more: tuple[str, str],
  license: str,
) -> Trained:
  """Write a bundle of a diffusion model; see `export`."""
  trained = read_trained(folder)
  experiment, params, frozen = trained.experiment, dict(trained.params), None
  vocabulary = b''
  if experiment.reads_text:
    # Checks that the parts fit together.
    sampler: Any = load_any(
      folder, tokenizer=tokenizer, encoder=encoder
    ).sampler
    params = _without_large_encoder(experiment, dict(sampler.params))
    frozen = sampler.tokenizer_params
    vocabulary = (folder / VOCABULARY_FILE).read_bytes()
  config = bundle_config(experiment, trained.name)
  data, (note, tables) = experiment.data, more
  words = folder / WORDS_FILE
  bundle_lib.write_bundle(
    out,
    tokenizer_params=frozen,
    generator_params=params,
    config=config,
    vocabulary=vocabulary,
    words=words.read_bytes() if words.is_file() else b'',
    model_card=_card(
      experiment.name or 'A diffusion model',
      f'A U-Net that denoises {experiment.diffusion.values}, trained '
      f'with phenaki_jax {phenaki_jax.__version__}. Its videos are '
      'AI-generated.',
      _of_data(data),
      f'- model: `{trained.name}`, {data.batch_size} examples a step '
      f'({data.image_share:.0%} images)',
      parts={'Model': config['diffusion'], 'Text encoder': config['text']},
      note=note,
      tables=tables,
    ),
    license=license,
    dtype=dtype,
  )
  return read_trained(out)


def open_generator(
  path: epath.PathLike | None,
  *,
  tokenizer: epath.PathLike | None = None,
  encoder: epath.PathLike | None = None,
) -> Model:
  """Open a model of which programs are written; see `runs.open.load`.

  Raises:
    UserError: it is a diffusion model, or cannot be opened.
  """
  if is_diffusion(path):
    raise UserError(
      f'{path} is a diffusion model, of which no programs are written; export '
      'a bundle of its run, or name a generator'
    )
  return models.load(path, tokenizer=tokenizer, encoder=encoder)


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
    UserError: the frames differ by more, the extra `tf` is missing, `out` holds
      something else, or the model learnt from clips without captions.
  """
  if not model.data.clip_captions:
    raise UserError(
      f'the stories of {model.name} take two stages (docs/diffusion.md), of '
      'which no programs are written; export a bundle of its run'
    )
  if 'history' in model.sampler.models.ports.memory:
    _log.info(
      '%s reads the history of a story, which its programs do not: each scene '
      'sees its context alone.',
      model.name,
    )
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
    origin={
      name: value
      for name, value in model.provenance.items()
      if name in ('license', 'model')
    },
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
  parts = {
    'Tokenizer': experiment.tokenizer,
    'Generator': experiment.generator,
    'Text encoder': experiment.text,
    'Sampling': experiment.sampling,
  }
  return _card(
    experiment.name or 'A story model',
    'A C-ViViT tokenizer and a masked transformer with its text encoder, '
    f'trained with phenaki_jax {phenaki_jax.__version__}. Its videos are '
    'AI-generated.',
    _of_data(data),
    f'- tokenizer: {tokenizer.training}',
    f'- generator: `{experiment.name}`, {steps:,} steps of '
    f'{data.batch_size} examples ({data.image_share:.0%} images)',
    parts={title: config_lib.to_dict(part) for title, part in parts.items()},
    note=note,
    tables=tables,
  )


def _of_data(data: DataConfig) -> str:
  sources = ', '.join(source.name for source in data.sources)
  return (
    f'- data: {sources}, clips of {data.frames} frames of '
    f'{data.size[0]}x{data.size[1]} pixels at {data.fps:g} frames per second'
  )


def _card(
  title: str,
  about: str,
  *training: str,
  parts: Mapping[str, Any],
  note: str,
  tables: str,
) -> str:
  """Return a model card, in Markdown."""
  rows = [f'# {title}', about]
  if note:
    rows.append(note)
  rows += [
    '## Training',
    *training,
    '- weights: the exponential moving average',
  ]
  for heading, part in parts.items():
    values = json.dumps(part, indent=1, sort_keys=True)
    rows += [f'### {heading}', f'```json\n{values}\n```']
  if tables:
    rows += ['## Scores', tables.strip()]
  return '\n\n'.join(rows) + '\n'
