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

import ml_collections

from phenaki_jax import config
from phenaki_jax.data.story_sets.flintstones import Flintstones
from phenaki_jax.data.story_sets.pororo import Pororo
from phenaki_jax.errors import UserError

SETS = {'pororo': Pororo, 'flintstones': Flintstones}


def get_config(arg=''):
  """Return the config; its argument names the file and the characters."""
  arg = config.parse_arg(arg, stories='data/pororo.h5', names='pororo')
  if arg.names not in SETS:
    raise UserError(f'names is {arg.names}; use one of {", ".join(SETS)}')
  return ml_collections.ConfigDict(
    {
      'kind': 'reader',
      'name': 'reader_characters',
      'seed': 0,
      'data': {
        'size': (64, 64),
        'frames': 1,
        'batch_size': 40,
        'image_share': 1.0,
        'continuation_share': 0.0,
        'num_threads': 1,
      },
      'characters': {
        'stories': arg.stories,
        'names': SETS[arg.names].characters,
      },
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 5e-3,
        'adam_learning_rate': 5e-3,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 6000,
        'log_every': 25,
        'checkpoint_every': 100,
        'evaluate_every': 250,
      },
    }
  )
