"""Edit an image or a clip: what is known stays, the rest is made from a prompt.

  animate      an image: new frames follow it
  continue     a clip: new frames follow it
  interpolate  two or more images, or a clip: new frames between each two
  fps          a clip: a multiple of its frame rate, by frames in between
  fill         a clip: the pixels of a box or a mask are made anew
  restyle      a clip: what --content names is made in its structure, its depth
               (docs/conditioning.md); --structure CLIP is short for it
  extend       a clip: new pixels around it
  vary         a clip: another one of what its middle frame shows, by a model
               that reads content (docs/conditioning.md), and no prompt
  enlarge      a clip: more rows and columns, by a model of super-resolution,
               which reads no prompt

The input is scaled to the size of the model; enlarge takes any size. Clips are
read at the frame rate of the model, by fps and enlarge at their own; --fps sets
another one, also of arrays, which have the model's. A model with a canvas reads
known pixels there (docs/conditioning.md); for others, the tokens of known
pixels never change. Known pixels come back bit for bit. H.264 loses some of
them again, so that the frames are also written as EDIT.npy (uint8,
[T, H, W, 3]), which can be the input of another edit.
"""

import argparse

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError
from phenaki_jax.runs.edit_options import ACTIONS, check_options

EXAMPLES = """
  phenaki edit animate circle.png --out circle.mp4 --frames 24 \\
    --prompt "a red circle moving right on grass"
  phenaki edit continue circle.npy --out longer.mp4 --frames 16 \\
    --prompt "it turns blue and keeps moving right"
  phenaki edit interpolate first.png last.png --out between.mp4 --between 5 \\
    --prompt "a red circle moving right on grass"
  phenaki edit fps circle.npy --out smooth.mp4 --times 2 \\
    --prompt "a red circle moving right on grass"
  phenaki edit fill circle.npy --out filled.mp4 --box 32,0,64,64 \\
    --prompt "a blue square on grass"
  phenaki edit restyle circle.npy --out blue.mp4 --content blue.png \\
    --model runs/structure --structure-level 1
  phenaki edit --structure mockup.mp4 --content "a blue square on grass" \\
    --depth maps --model runs/structure --out render.mp4
  phenaki edit restyle circle.npy --out red.mp4 --content red.png \\
    --model runs/gen1 --invert
  phenaki edit extend circle.npy --out wide.mp4 --margins 0,0,16,0 \\
    --prompt "a red circle moving right on grass"
  phenaki edit vary circle.npy --out other.mp4 --model runs/structure --seed 1
  phenaki edit enlarge circle.mp4 --out large.mp4 --model runs/large
"""

_NUMBERS = (
  ('frames', arguments.positive, 'new frames of animate and continue (24)'),
  ('between', arguments.positive, 'new frames in a gap of interpolate (3)'),
  ('times', arguments.positive, 'multiple of the frame rate of fps (2)'),
  ('fps', arguments.seconds, 'frames per second of the input'),
  ('structure-level', arguments.level, 'blur of the depth of restyle (0)'),
  ('guidance', float, 'guidance scale; 0 for none'),
  ('steps', int, 'decoding steps of a window'),
  ('temperature', float, '0: most likely tokens'),
  ('time-guidance', float, 'temporal guidance; 1: none'),
  (
    *('degradation', arguments.share),
    'how far enlarge may change noisy frames; 0 keeps them exactly',
  ),
)


def four_numbers(text: str) -> tuple[int, int, int, int]:
  """Parse left,top,right,bottom."""
  try:
    left, top, right, bottom = (int(part) for part in text.split(','))
  except ValueError:
    raise argparse.ArgumentTypeError(
      f'{text!r} is not left,top,right,bottom in pixels'
    ) from None
  return left, top, right, bottom


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('action', choices=ACTIONS, help='what to do')
  parser.add_argument(
    'inputs', nargs='+', metavar='FILE', help='an image, a clip, or EDIT.npy'
  )
  parser.add_argument(
    '--out', required=True, metavar='EDIT.mp4', help='the film to write'
  )
  parser.add_argument(
    '--prompt',
    default='',
    help='text of the result; not of a model of clips without captions',
  )
  arguments.add_model(parser)
  arguments.add_origin(parser)
  left = argparse.SUPPRESS  # What is not given is not in the arguments.
  arguments.add_numbers(
    parser,
    *((name, kind, left, words) for name, kind, words in _NUMBERS),
    ('seed', arguments.seed, 0, 'of the result'),
  )
  parser.add_argument(
    '--invert',
    action='store_true',
    default=left,
    help='restyle starts from the noise of the clip; of diffusion models',
  )
  parser.add_argument(
    '--structure',
    action=arguments.InPlaceOf,
    positionals=('action', 'inputs'),
    metavar='CLIP',
    help='restyle this clip',
  )
  for name, shown, words in (
    ('content', 'IMAGE|TEXT', 'what restyle makes: an image of it, or a text'),
    ('depth', 'MAPS', 'pictures, film or .npy of depth, or weights of DPT'),
    ('mask', 'FILE', 'image or clip, white where fill and restyle change it'),
  ):
    parser.add_argument(f'--{name}', metavar=shown, help=words)
  for name, words in (
    ('box', 'box that fill and restyle change, in pixels'),
    ('margins', 'new pixels of extend on each side'),
  ):
    parser.add_argument(
      f'--{name}', type=four_numbers, metavar='L,T,R,B', help=words
    )


def run(args: argparse.Namespace) -> None:
  """Make one edit."""
  if args.structure is not None:
    if args.inputs or args.action not in (None, 'restyle'):
      raise UserError('--structure CLIP is for restyle, which takes one clip')
    args.action, args.inputs = 'restyle', [args.structure]
  check_options(args.action, vars(args))
  origin = arguments.origin(args)
  if args.action == 'enlarge':
    from phenaki_jax.runs.enlargement import Enlargement, enlarge_film

    wanted = Enlargement(**arguments.fields(args, Enlargement))
    print(*enlarge_film(args.model, wanted, args.out, **origin), sep='\n')
    return
  from phenaki_jax.runs.diffusion import load_any
  from phenaki_jax.runs.edit import Edit, edit
  from phenaki_jax.sampling.config import SamplingSettings

  request = Edit(
    settings=arguments.fields(args, SamplingSettings),
    **arguments.fields(args, Edit),
  )
  model = load_any(args.model, tokenizer=args.tokenizer, encoder=args.encoder)
  print(*edit(model, request, args.out, **origin), sep='\n')
