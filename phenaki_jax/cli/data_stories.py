"""Convert a set of captioned stories into films for training, or into HDF5.

Reads PororoSV, FlintstonesSV, DiDeMoSV and VIST (its stories in sequence or the
descriptions of their photographs) in the files of their releases, and the HDF5
files of AR-LDM. A folder gets films with scenes for each split, which `phenaki
data build --stories` reads. A file that ends in .h5 gets the frames as they
are, with true colours. What is left out is counted by reason and listed.
"""

import argparse

from phenaki_jax.cli.arguments import add_numbers, fields, positive
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki data stories --set pororo --path data/pororo --out data/pororo-films
  phenaki data build --stories data/pororo-films/train --out data/manifest
  phenaki data stories --set flintstones --path data/flintstones \\
    --out data/flintstones.h5
  phenaki data stories --set vist-dii --path arldm/vist.h5 --out data/vist.h5
"""

_NAMES = ('pororo', 'flintstones', 'didemo', 'vist-sis', 'vist-dii', 'hdf5')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--set', required=True, choices=_NAMES, help='the set of stories'
  )
  parser.add_argument(
    '--path',
    required=True,
    metavar='PATH',
    help='folder of the release, or an HDF5 file of AR-LDM',
  )
  parser.add_argument(
    '--out', required=True, metavar='OUT', help='new folder or file (.h5)'
  )
  add_numbers(
    parser,
    (
      'size',
      positive,
      None,
      'side in pixels (default: 128; in HDF5, as is)',
    ),
    ('frames', positive, None, 'frames of a scene in a film (default 9)'),
    ('fps', positive, None, 'frames per second of a film (default 8)'),
  )


def run(args: argparse.Namespace) -> None:
  """Convert one set."""
  from phenaki_jax.data.story_sets import convert, sets

  given = {name: x for name, x in fields(args, convert.Form).items() if x}
  if args.out.endswith(sets.HDF5) and given.keys() & {'frames', 'fps'}:
    raise UserError(
      f'--frames and --fps are of films, but {args.out} has the frames as they '
      'are; leave them out, or name a folder'
    )
  stories = sets.open_set(args.set, args.path)
  form = convert.Form(**given)
  account = convert.convert(stories, args.out, form=form)
  print('\n'.join(account.lines()))
  print(f'wrote {args.out}, with an account and a contact sheet')
