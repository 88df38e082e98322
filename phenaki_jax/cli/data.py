"""Build, check and inspect the data that models are trained on.

Folders of clips in the WebVid layout, of images in the img2dataset layout and
of films in the stories layout, and the built-in StoryWorld, become one
manifest, which a config names among its data.sources. Every record is kept, or
left out for a reason that is counted in report.json.
"""

import argparse
import importlib

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki data build --webvid data/webvid --img2dataset data/laion \\
    --out data/manifest
  phenaki data download laion/part-00000.parquet --out data/laion
  phenaki data check data/manifest
  phenaki data ingest data/manifest --out data/packed --size 64 --fps 8
  phenaki data inspect data/manifest --out sheet.png
  phenaki data storyworld --out data/world --clips 200 --images 200
  phenaki data lpc --sheets data/sheets --out data/lpc --clips 2000
  phenaki data stories --set pororo --path data/pororo --out data/films
  phenaki train --config configs/tokenizer/lpc.py:manifest=data/manifest \\
    --workdir runs/tokenizer
"""

_ACTIONS = {
  'build': 'make a manifest of folders and StoryWorld',
  'check': 'check a manifest and the data that it names',
  'download': 'download the files that a table of the web names',
  'ingest': 'write a set of small frames from a manifest, for training',
  'inspect': 'draw a contact sheet of a manifest, with captions',
  'lpc': 'draw the sprite world from the sheets of artists',
  'stories': 'convert a published set of stories into films or HDF5',
  'storyworld': 'write StoryWorld in the WebVid and img2dataset layouts',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the actions; each is a module of this package."""
  actions = parser.add_subparsers(
    dest='action', metavar='ACTION', required=True, title='actions'
  )
  for name, summary in _ACTIONS.items():
    module = importlib.import_module(f'phenaki_jax.cli.data_{name}')
    arguments.add_command(actions, name, summary, module)
