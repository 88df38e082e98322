"""Make the stories of StoryBench, in the files that its metrics read.

TASKS is a file of one of its three tasks (action execution, story continuation,
story generation), as published. Stories that continue given frames read them
from the arrays under --videos. Each story is written to
OUT/phenaki/TASK/raw/NAME.npz; those that are there already are kept, so that
the same command goes on after an interruption; another model or seed, or other
--samples, need another folder.
"""

import argparse

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki bench uvo-valid/story_gen.json --out runs/storybench --samples 4
  phenaki bench uvo-valid/story_cont.json --videos datadir \\
    --out runs/storybench --model runs/generator --truth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('tasks', metavar='TASKS.json', help='a file of tasks')
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the results'
  )
  parser.add_argument(
    '--videos', default='.', metavar='DIR', help='folder of the arrays'
  )
  arguments.add_model(parser)
  arguments.add_numbers(
    parser,
    ('samples', arguments.positive, 1, 'films of each story, side by side'),
    ('first', arguments.positive, argparse.SUPPRESS, 'make the first N only'),
    ('seed', arguments.seed, 0, 'of all stories'),
  )
  parser.add_argument(
    '--truth', action='store_true', help='also write the real frames'
  )


def run(args: argparse.Namespace) -> None:
  """Make the stories of one file of tasks."""
  from phenaki_jax.evaluation.storybench import read_tasks
  from phenaki_jax.runs.open import load
  from phenaki_jax.runs.storybench import make_stories

  tasks = read_tasks(args.tasks)[: getattr(args, 'first', None)]
  model = load(args.model, tokenizer=args.tokenizer, encoder=args.encoder)
  paths = make_stories(
    model,
    tasks,
    videos=args.videos,
    out=args.out,
    samples=args.samples,
    seed=args.seed,
    with_truth=args.truth,
  )
  print(f'{len(paths)} stories in {paths[0].parent}')
