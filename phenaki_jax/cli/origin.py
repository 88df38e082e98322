"""Say how a film or a picture was made, as far as the file tells.

Printed are the metadata that phenaki writes, the state of its content
credentials (C2PA) if it has any, and of a film the score of the invisible mark.
A file without any of them may have been made by this package all the same:
metadata, credentials and marks can be removed.
"""

import argparse
import json
import pathlib

from phenaki_jax.errors import UserError
from phenaki_jax.extras import MissingExtraError

EXAMPLES = """
  phenaki origin story.mp4
  phenaki origin story.mp4 --trust root.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('file', metavar='FILE', help='an MP4, GIF or PNG')
  parser.add_argument(
    '--trust',
    metavar='PEM',
    help='certificates of authorities that are trusted to vouch for signers',
  )


def run(args: argparse.Namespace) -> None:
  """Print what the file tells."""
  from phenaki_jax.media import mark
  from phenaki_jax.media.credentials import verify
  from phenaki_jax.media.provenance import read_provenance

  path = pathlib.Path(args.file)
  if not path.is_file():
    raise UserError(f'there is no file {path}')
  try:
    print('metadata:', json.dumps(read_provenance(path), indent=2))
  except UserError as error:
    print('metadata: none;', error)
  try:
    print('credentials:', verify(path, trust=args.trust))
  except MissingExtraError as error:
    if args.trust:
      raise
    print('credentials: not checked;', error)
  if path.suffix == '.mp4':
    found = mark.score_film(path)
    is_marked = 'yes' if found >= mark.THRESHOLD else 'not found'
    print(f'mark: {is_marked} (score {found:.1f}, limit {mark.THRESHOLD:g})')
