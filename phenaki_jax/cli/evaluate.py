"""Measure how well a model knows StoryWorld.

The model generates clips of prompts whose combinations of facts were held out
of training, stories in which one or two facts change from scene to scene, and,
with --image-only, clips of concepts that only images have shown. An oracle
reads the facts back from the frames. The tables are printed and written to the
folder --out, with the same numbers as JSON and contact sheets of the best,
worst and random samples.
"""

import argparse

from etils import epath

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki evaluate --out runs/reference_scores
  phenaki evaluate --model runs/story/generator --out runs/scores \\
    --prompts 100 --stories 10 --scenes 4
  phenaki evaluate --model runs/story/generator --out runs/image_only \\
    --prompts 0 --stories 0 --image-only
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  arguments.add_model(parser)
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the results'
  )
  arguments.add_numbers(
    parser,
    ('prompts', int, 200, 'clips to generate; 0 for none'),
    ('stories', int, 20, 'stories to generate; 0 for none'),
    ('scenes', int, 8, 'scenes of each story'),
    ('image-only-prompts', int, 20, 'clips of each image-only concept'),
    ('batch-size', int, 16, 'clips generated at once'),
    ('seed', arguments.seed, 0, 'of prompts and samples'),
  )
  parser.add_argument(
    '--image-only',
    action='store_true',
    help='also generate clips of concepts that only images have shown',
  )
  parser.add_argument(
    '--split',
    default='heldout',
    choices=('heldout', 'train', 'all'),
    help='combinations of facts in the prompts (default %(default)s)',
  )
  parser.add_argument(
    '--subset', help="part of StoryWorld (default: the model's own)"
  )
  absent = argparse.SUPPRESS  # The parsed arguments hold only those given.
  arguments.add_numbers(
    parser,
    ('guidance', float, absent, 'guidance scale of the prompts; 0 for none'),
    ('steps', int, absent, 'decoding steps'),
    ('temperature', float, absent, 'of sampling; 0 for the likeliest tokens'),
  )


def run(args: argparse.Namespace) -> None:
  """Evaluate one model."""
  from phenaki_jax.evaluation.storyworld_report import to_markdown
  from phenaki_jax.runs import evaluate
  from phenaki_jax.runs import open as models
  from phenaki_jax.sampling.sampler import SamplingSettings

  if epath.Path(args.out).is_file():
    raise UserError(f'--out is {args.out}, which is a file; name a folder')
  request = evaluate.Request(
    settings=arguments.fields(args, SamplingSettings),
    **arguments.fields(args, evaluate.Request),
  )
  model = models.load(args.model, tokenizer=args.tokenizer)
  report = evaluate.evaluate(model, request)
  paths = evaluate.write_report(report, args.out)
  print(to_markdown(report))
  print(*paths, sep='\n')
