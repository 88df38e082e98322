r"""The reader of the sprite world, at 64x64.

    phenaki train --config configs/reader/lpc.py:sheets=DIR \
      --workdir runs/reader

DIR holds the sheets (see `phenaki data lpc --help`). Two CPU cores: about an
hour.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  """Return the config; its argument names the folder of the sheets."""
  arg = config.parse_arg(arg, sheets='data/sheets')
  return ml_collections.ConfigDict(
    {
      'kind': 'reader',
      'name': 'reader_lpc',
      'seed': 0,
      'data': {
        'size': (64, 64),
        'frames': 3,
        'batch_size': 40,
        'image_share': 0.4,
        'continuation_share': 0.0,
        'num_threads': 1,
      },
      'reader': {'sheets': arg.sheets},
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
