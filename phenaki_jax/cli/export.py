"""Make a bundle of a trained generator and its tokenizer.

The bundle is one folder of safe formats (safetensors, JSON, a SentencePiece
model, Markdown) that `phenaki story` and `phenaki evaluate` open with --model.
Its model card lists the configs, data and steps of the training, and repeats
the scores of an evaluation if its folder is given.
"""

import argparse

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki export --run runs/story/generator --out runs/story/bundle
  phenaki export --run runs/generator --out my_model --dtype float16 \\
    --scores runs/scores
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--run',
    dest='run_dir',
    required=True,
    metavar='DIR',
    help='the --workdir of the trained generator',
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
    help='of the arrays on disk; float16 halves them (default %(default)s)',
  )
  parser.add_argument(
    '--scores',
    metavar='DIR',
    help='folder that `phenaki evaluate` wrote, to repeat in the model card',
  )
  arguments.add_parts(parser)
  parser.add_argument(
    '--note', default='', help='a sentence for the model card'
  )


def run(args: argparse.Namespace) -> None:
  """Write the bundle, and check that it opens."""
  from etils import epath

  from phenaki_jax.runs.export import export

  model = export(
    args.run_dir,
    args.out,
    dtype=args.dtype,
    scores=args.scores,
    tokenizer=args.tokenizer,
    encoder=args.encoder,
    note=args.note,
  )
  size = sum(path.stat().length for path in epath.Path(args.out).iterdir())
  print(
    f'wrote {args.out}: {size / 1e6:.1f} MB, fingerprint '
    f'{model.fingerprint[:16]}'
  )
