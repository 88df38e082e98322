r"""A reader of the characters of a set of stories, at 64x64.

    phenaki data stories --set pororo --path DIR --out pororo.h5
    phenaki train --config configs/reader/characters.py:stories=pororo.h5 \
      --workdir runs/characters
    phenaki reader --reader runs/characters --stories pororo.h5

For FlintstonesSV, add `,names=flintstones`. The papers fine-tune an
Inception-v3 at 299x299 instead, so their scores compare only with each other.
Two CPU cores: less than an hour, which the reader of the sprite world takes for
twice as many frames.
"""

import pathlib

from phenaki_jax import config
from phenaki_jax.data.story_sets.flintstones import Flintstones
from phenaki_jax.data.story_sets.pororo import Pororo
from phenaki_jax.errors import UserError

SETS = {'pororo': Pororo, 'flintstones': Flintstones}


def get_config(arg=''):
  """Return `lpc.py` on stories; the argument names the file and characters."""
  arg = config.parse_arg(arg, stories='data/pororo.h5', names='pororo')
  if arg.names not in SETS:
    raise UserError(f'names is {arg.names}; use one of {", ".join(SETS)}')
  values = config.load(pathlib.Path(__file__).with_name('lpc.py'))
  with values.unlocked():
    values.name = 'reader_characters'
    values.data.update({'frames': 1, 'image_share': 1.0})
    values.reader.sheets = ''
    values.characters = {
      'stories': arg.stories,
      'names': SETS[arg.names].characters,
    }
  return values
