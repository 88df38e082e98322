"""Teach a model a new word from a few images, or customise it.

--character WORD adds a word, for a character of which four or five images are
enough. The caption of a.png is in a.txt beside it, or is 'a WORD'. Mode row
trains the embedding of the word alone, so that prompts without it give the same
predictions, bit for bit. Mode all trains the whole model, and shows it examples
of its own training data, too, unless there is --no-prior.

--customise trains the whole model on images or one clip, without a new word.
The model is a generator, or a diffusion model that reads text. To learn a word,
the text encoder must have been trained with the rest of the model.

The result is a run directory like that of `phenaki train`: the same command
resumes it, and `phenaki story --model OUT` uses it. It needs the tokenizer of
the model; `phenaki export --run OUT` writes both into one folder.
"""

import argparse
import logging
import shlex

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki adapt --character zog --images my/zog --out runs/zog
  phenaki story --model runs/zog --prompt "a zog moving right on grass" \\
    --out runs/zog.mp4
  phenaki adapt --character zog --like star --images my/zog --mode all \\
    --model runs/generator --out runs/zog_all
  phenaki adapt --customise --clip my/clip.mp4 --out runs/mine \\
    --caption "a red circle in the rain" --set train.steps=100
"""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  kind = parser.add_mutually_exclusive_group(required=True)
  kind.add_argument('--character', metavar='WORD', help='the new word')
  kind.add_argument(
    '--customise', action='store_true', help='train the model, without a word'
  )
  files = parser.add_mutually_exclusive_group(required=True)
  files.add_argument(
    '--images', default='', metavar='DIR', help='folder of images, or of clips'
  )
  files.add_argument('--clip', default='', metavar='FILE', help='one clip')
  parser.add_argument(
    '--caption',
    default='',
    metavar='TEXT',
    help="of the files without a text beside them (default: 'a WORD')",
  )
  parser.add_argument(
    '--like',
    default='',
    metavar='WORD',
    help='a word that the model knows, from which the new one starts',
  )
  parser.add_argument(
    '--mode',
    choices=('row', 'all'),
    help='what is trained: the embedding of the word (default), or the model',
  )
  parser.add_argument(
    '--no-prior',
    dest='prior',
    action='store_false',
    help="train on the files alone, without the model's own training data",
  )
  parser.add_argument(
    '--model',
    default='storyworld',
    metavar='DIR',
    help='a bundle, or the --workdir of a trained generator or diffusion '
    'model; or storyworld (the default) or lpc, which ship with the package',
  )
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='the run directory'
  )
  arguments.add_set(parser)


def run(args: argparse.Namespace) -> int:
  """Adapt a model."""
  from phenaki_jax.runs.adapt import Adaptation, adaptation
  from phenaki_jax.runs.train import train

  args.character = args.character or ''
  args.mode = args.mode or ('row' if args.character else 'all')
  request = Adaptation(**arguments.fields(args, Adaptation))
  code = train(adaptation(request, args.out, args.set), args.out)
  if code == 0:
    _log.info(
      'Next, generate a story video: phenaki story --model %s --prompt '
      '"%s ..." --out story.mp4',
      shlex.quote(args.out),
      f'a {args.character}' if args.character else '',
    )
  return code
