"""C-ViViT `tiny` on StoryWorld `easy`: the first half of `make story`.

    phenaki train --config configs/tokenizer/tiny.py --workdir runs/tokenizer

Two CPU cores: about 8 minutes.
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
        'source': 'storyworld',
        'subset': 'easy',
        'size': (32, 32),
        'frames': 9,
        'batch_size': 16,
        'image_share': 0.25,
      },
      'tokenizer': SIZES['tiny'],
      'losses': {'l1': 0.2},
      'optim': {'learning_rate': 1e-3, 'warmup_steps': 100},
      'train': {
        'steps': 1500,
        'log_every': 20,
        'checkpoint_every': 250,
        'evaluate_every': 250,
      },
    }
  )
