"""Export a trained model: a bundle, StableHLO programs or a SavedModel.

A bundle is one folder of safe formats (safetensors, JSON, a SentencePiece
model, Markdown) that `phenaki story` and `phenaki evaluate` open with --model.
Its model card lists the configs, data and steps of the training, and repeats
the scores of an evaluation if its folder is given.

--format stablehlo writes the networks as programs for CPUs, CUDA GPUs and TPUs
with any batch size, their weights, and load.py, which runs them where only jax
is installed. --format savedmodel writes a SavedModel for TensorFlow and needs
the extra `tf`. Both take --model, a bundle or a run, as `phenaki story` does;
another process runs what they wrote before they say that it is done.
"""

import argparse
import itertools
import shlex

from phenaki_jax.cli import arguments
from phenaki_jax.runs.export_options import check_options

EXAMPLES = """
  phenaki export --run runs/story/generator --out runs/story/bundle
  phenaki export --run runs/generator --out my_model --dtype float16 \\
    --scores runs/scores
  phenaki export --format stablehlo --out runs/programs
  phenaki export --format savedmodel --model runs/story/bundle \\
    --out runs/saved_model --steps 12
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--run',
    dest='run_dir',
    metavar='DIR',
    help='the --workdir of a trained model, for a bundle',
  )
  parser.add_argument(
    '--format',
    default='bundle',
    choices=('bundle', 'stablehlo', 'savedmodel'),
    help='what to write (default %(default)s)',
  )
  parser.add_argument(
    '--out',
    required=True,
    metavar='DIR',
    help='folder to write; an older export there is replaced',
  )
  parser.add_argument(
    '--dtype',
    choices=('float32', 'float16', 'int8'),
    help='of the arrays of a bundle; see docs/serving.md (default float32)',
  )
  parser.add_argument(
    '--scores',
    metavar='DIR',
    help='folder that `phenaki evaluate` wrote, to repeat in the model card',
  )
  arguments.add_model(parser)
  parser.add_argument(
    '--steps',
    type=arguments.positive,
    metavar='N',
    help='decoding steps of the programs (default: those of the model)',
  )
  for name, words in (
    ('note', 'a sentence for the model card'),
    ('license', 'of a bundle and its films: a name, a URL, whom to credit'),
  ):
    parser.add_argument(f'--{name}', default='', metavar='TEXT', help=words)


def run(args: argparse.Namespace) -> None:
  """Write the export, and check that it opens."""
  check_options(args.format, vars(args))
  if args.format == 'bundle':
    _bundle(args)
    return
  from phenaki_jax.runs import export as export_lib

  model = export_lib.open_generator(
    args.model, tokenizer=args.tokenizer, encoder=args.encoder
  )
  names = ('format', 'model', 'tokenizer', 'encoder', 'steps', 'out')
  given = [
    (f'--{one}', str(getattr(args, one))) for one in names if getattr(args, one)
  ]
  others = export_lib.export_programs(
    model,
    args.out,
    steps=args.steps,
    savedmodel=args.format == 'savedmodel',
    export_again=shlex.join(['phenaki', 'export', *itertools.chain(*given)]),
  )
  print(
    f'wrote {args.out}; another process made the frames of the model with it, '
    f'with {others:.2%} of the values rounded differently'
  )


def _bundle(args: argparse.Namespace) -> None:
  from etils import epath

  from phenaki_jax.runs.export import export

  names = ('scores', 'tokenizer', 'encoder', 'note', 'license')
  options = {name: getattr(args, name) for name in names}
  model = export(
    args.run_dir, args.out, dtype=args.dtype or 'float32', **options
  )
  size = sum(path.stat().length for path in epath.Path(args.out).iterdir())
  print(
    f'wrote {args.out}: {size / 1e6:.1f} MB, fingerprint '
    f'{model.fingerprint[:16]}'
  )
