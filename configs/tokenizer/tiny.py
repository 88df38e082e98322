"""C-ViViT `tiny` on StoryWorld `easy`: the first half of `make story`.

    phenaki train --config configs/tokenizer/tiny.py --workdir runs/tokenizer

Two CPU cores: about 4 minutes.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.tokenizer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'tokenizer',
      'name': 'tokenizer_tiny',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
        'size': (32, 32),
        'frames': 9,
        'batch_size': 20,
        'image_share': 0.4,
      },
      'tokenizer': {**SIZES['tiny'], 'patch': (8, 8)},
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 7e-3,
        'adam_learning_rate': 3e-2,
        'warmup_steps': 40,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 2500,
        'log_every': 20,
        'checkpoint_every': 500,
        'evaluate_every': 500,
      },
    }
  )
