"""Measure how well a model knows the world of its data.

The model generates clips of prompts whose combinations of facts were held out
of training, stories in which one or two facts change from scene to scene, pairs
of scenes that differ in one fact, and, with --image-only, clips of concepts
that only images have shown. It also reconstructs held-out clips from their
tokens; of a tokenizer, this alone is measured. Facts are read back from the
frames: those of StoryWorld by an oracle, those of the sprite world (LPC) by a
trained reader. The tables are printed and written to the folder --out, with the
same numbers as JSON and contact sheets.

--returns N also measures stories in which a character or object leaves for
three scenes and comes back, named by its kind or pronoun alone: how often the
facts that its last prompt leaves open are right.

--features compares the clips of single prompts with held-out ones by a
network: FID and KID, or FVD and KVD. --protocol FILE measures these alone, as a
paper did (configs/protocols/). --follow evaluates each new checkpoint of a run
that trains, with its averaged weights, to OUT/STEP. --story-set FILE.h5 makes
the stories of a set, and measures as story papers do: FID of frames of 64
pixels, F1 of characters, and the share of frames whose characters are right.
"""

import argparse

from etils import epath

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki evaluate --out runs/reference_scores
  phenaki evaluate --model runs/story/generator --out runs/scores \\
    --prompts 100 --stories 10 --scenes 4 --changes 10
  phenaki evaluate --model runs/history --out runs/returns \\
    --prompts 0 --stories 0 --changes 0 --returns 50
  phenaki evaluate --model runs/story/generator --out runs/image_only \\
    --prompts 0 --stories 0 --changes 0 --image-only
  phenaki evaluate --model runs/story/tokenizer --out runs/decoded \\
    --reconstructions 100
  phenaki evaluate --model runs/story/generator --out runs/scores --follow 60
  phenaki evaluate --model runs/prediction --out runs/bair --manifest my/bair \\
    --protocol configs/protocols/bair.py --features i3d=i3d.safetensors
  phenaki evaluate --model runs/pororo --out runs/pororo_scores \\
    --story-set pororo.h5 --stories 2208 --reader runs/characters \\
    --features inception=inception.safetensors
"""

_CHOICES = (
  ('split', 'heldout', 'heldout train all', 'sets of facts (default heldout)'),
  ('world', '', 'storyworld lpc', 'of prompts (default: by the captions)'),
  (
    *('task', '', 'continuation visualisation'),
    'with or without the first pictures of a --story-set (default: with them, '
    'if the model reads source frames)',
  ),
)
_PLACES = (
  ('subset', '', 'NAME', "part of StoryWorld (default: the model's own)"),
  (
    *('reader', '', 'PATH'),
    'of the sprite world, the file that `phenaki reader --out` wrote (default: '
    'the one that ships); of a --story-set, the run of a reader of characters',
  ),
  ('story-set', '', 'FILE.h5', 'measure its first --stories test stories'),
  (
    *('manifest', '', 'DIR'),
    'manifest whose held-out clips are read (default: the training data)',
  ),
  ('protocol', None, 'FILE[:ARG]', 'measure as a paper did instead'),
)


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
    ('returns', int, 0, 'stories in which somebody leaves and comes back'),
    ('changes', int, 20, 'pairs of scenes for each fact; 0 for none'),
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
    '--frechet',
    action='store_true',
    help='also give the Frechet distances of the --prompts clips from as many '
    'held-out ones, by the features of open_nsfw (needs phenaki-jax[safety])',
  )
  parser.add_argument(
    '--features',
    action='append',
    default=[],
    metavar='NAME[=FILE]',
    help='network that compares the --prompts clips with as many held-out ones '
    '(FID, KID; i3d: FVD, KVD; inception: also IS; clip: also similarity with '
    'prompts) and reconstructions (LPIPS): open_nsfw, vgg16=FILE, i3d=FILE, '
    'inception=FILE, clip=FILE, or NAME@random',
  )
  for name, default, allowed, words in _CHOICES:
    option = parser.add_argument(f'--{name}', default=default, help=words)
    option.choices = allowed.split()  # `add_argument` infers a wrong type.
  for name, value, metavar, words in _PLACES:
    parser.add_argument(f'--{name}', default=value, metavar=metavar, help=words)
  absent = argparse.SUPPRESS  # The parsed arguments hold only those given.
  arguments.add_numbers(
    parser,
    (
      *('reconstructions', int, absent),
      'held-out clips to reconstruct; 0 for none (default 32, or 0 if the '
      'training data is not here)',
    ),
    ('guidance', float, absent, 'guidance scale; 0 for none'),
    ('steps', int, absent, 'decoding steps'),
    ('temperature', float, absent, 'of sampling; 0 for the likeliest tokens'),
    ('clips', arguments.positive, None, 'real clips of a shortened --protocol'),
    ('follow', arguments.seconds, None, 'seconds between looks at a run'),
  )


def run(args: argparse.Namespace) -> None:
  """Evaluate one model, or each checkpoint of a run."""
  from phenaki_jax.runs.request import Request
  from phenaki_jax.sampling.config import SamplingSettings

  if epath.Path(args.out).is_file():
    raise UserError(f'--out is {args.out}, which is a file; name a folder')
  request = Request(
    settings=arguments.fields(args, SamplingSettings),
    **arguments.fields(args, Request),
  )
  from phenaki_jax.runs import evaluate

  places = evaluate.Places(**arguments.fields(args, evaluate.Places))
  evaluate.evaluate_all(
    request, places, args.out, seconds=args.follow, show=print
  )
