r"""C-ViViT of the reference checkpoint: StoryWorld `easy` at 64x64.

    phenaki train --config configs/tokenizer/reference.py \
      --workdir runs/reference_tokenizer

One CPU core: about 8 minutes. Interrupted, the same command goes on.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.tokenizer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'tokenizer',
      'name': 'tokenizer_reference',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
        'size': (64, 64),
        'frames': 9,
        'batch_size': 20,
        'image_share': 0.4,
      },
      'tokenizer': {**SIZES['tiny'], 'patch': (16, 16)},
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
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 500,
      },
    }
  )
