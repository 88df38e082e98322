"""Make a bundle of a trained generator and its tokenizer.

The bundle is one folder of safe formats (safetensors, JSON, a SentencePiece
model, Markdown) that `story` and `evaluate` open by --model. Its model card
says which configs, data and steps made it, and repeats the scores of an
evaluation when its folder is given.
"""

import argparse
import json
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from phenaki_jax.runs.experiment import Experiment

EXAMPLES = """
  phenaki export --run runs/story/generator --out runs/story/bundle
  phenaki export --run runs/generator --out my_model --dtype float16 \\
    --scores runs/scores
"""

_SCORES_FILE = 'storyworld.md'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the command's arguments."""
  parser.add_argument(
    '--run',
    dest='run_dir',
    required=True,
    metavar='DIR',
    help='the --workdir that the generator was trained in',
  )
  parser.add_argument(
    '--out',
    required=True,
    metavar='DIR',
    help='folder of the bundle; an older bundle there is replaced',
  )
  parser.add_argument(
    '--dtype',
    default='float32',
    choices=('float32', 'float16'),
    help='of the arrays on disk; float16 halves them (%(default)s)',
  )
  parser.add_argument(
    '--scores',
    metavar='DIR',
    help='folder that `phenaki evaluate` wrote, to repeat in the model card',
  )
  parser.add_argument(
    '--note', default='', help='a sentence for the model card'
  )


def run(args: argparse.Namespace) -> int:
  """Write the bundle, and check that it opens."""
  from phenaki_jax import config as config_lib
  from phenaki_jax.export import bundle as bundle_lib
  from phenaki_jax.runs import experiment as experiment_lib
  from phenaki_jax.runs import open as models
  from phenaki_jax.runs.experiment import VOCABULARY_FILE
  from phenaki_jax.training import checkpoints

  folder = pathlib.Path(args.run_dir)
  scores = _scores(args.scores)
  models.load(folder)  # Refuses parts that do not fit one another.
  experiment = experiment_lib.read(folder)
  trained = experiment_lib.read(pathlib.Path(experiment.tokenizer_dir))
  generator = checkpoints.load_params(folder)
  tokenizer = checkpoints.load_params(experiment.tokenizer_dir)
  card = _card(
    experiment,
    trained,
    steps={'tokenizer': tokenizer.step, 'generator': generator.step},
    scores=scores,
    note=args.note,
  )
  bundle_lib.write_bundle(
    args.out,
    tokenizer_params=tokenizer.params,
    generator_params=generator.params,
    config=config_lib.to_dict(models.describe(experiment)),
    vocabulary=(folder / VOCABULARY_FILE).read_bytes(),
    model_card=card,
    dtype=args.dtype,
  )
  opened = models.load(args.out)
  size = sum(path.stat().st_size for path in pathlib.Path(args.out).iterdir())
  print(
    f'wrote {args.out}: {size / 1e6:.1f} MB, fingerprint '
    f'{opened.fingerprint[:16]}'
  )
  return 0


def _scores(folder: str | None) -> str:
  """Read the tables of an evaluation, or nothing."""
  if folder is None:
    return ''
  path = pathlib.Path(folder) / _SCORES_FILE
  if not path.is_file():
    raise FileNotFoundError(
      f'there is no {path}; give --scores the --out folder of phenaki evaluate'
    )
  return path.read_text(encoding='utf-8')


def _card(
  experiment: 'Experiment',
  trained: 'Experiment',
  *,
  steps: dict[str, int],
  scores: str,
  note: str,
) -> str:
  """Write the model card."""
  import phenaki_jax
  from phenaki_jax import config as config_lib

  def settings(part: Any) -> str:
    values = config_lib.to_dict(part)
    return '```json\n' + json.dumps(values, indent=1, sort_keys=True) + '\n```'

  data = experiment.data
  sources = ', '.join(source.name for source in data.sources)
  rows = [
    f'# {experiment.name or "A story model"}',
    'A C-ViViT tokenizer and a masked transformer with its text encoder, made '
    f'by phenaki_jax {phenaki_jax.__version__}. What it makes is AI-generated.',
  ]
  if note:
    rows.append(note)
  rows += [
    '## How it was made',
    f'- data: {sources}, clips of {data.frames} frames of '
    f'{data.size[0]}x{data.size[1]} pixels at {data.fps:g} frames a second',
    f'- tokenizer: `{trained.name}`, {steps["tokenizer"]:,} steps of '
    f'{trained.data.batch_size} examples ({trained.data.image_share:.0%} '
    'images)',
    f'- generator: `{experiment.name}`, {steps["generator"]:,} steps of '
    f'{data.batch_size} examples ({data.image_share:.0%} images)',
    '- weights: the averaged ones (EMA)',
    '### Tokenizer',
    settings(experiment.tokenizer),
    '### Generator',
    settings(experiment.generator),
    '### Text encoder',
    settings(experiment.text),
    '### Sampling',
    settings(experiment.sampling),
  ]
  if scores:
    rows += ['## Scores', scores.strip()]
  return '\n\n'.join(rows) + '\n'
