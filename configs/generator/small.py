r"""The masked transformer `small` on StoryWorld at 64x64.

    phenaki train --config configs/generator/small.py --workdir runs/small_gen \
      --set tokenizer_dir=runs/small_tok

Two CPU cores: about 4 hours. Interrupted, the same command goes on.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_small',
      'seed': 0,
      'data': {
        'source': 'storyworld',
        'subset': 'easy',
        'size': (64, 64),
        'frames': 9,
        'batch_size': 40,
        'image_share': 0.2,
        'continuation_share': 0.5,
        'context_frames': 5,
      },
      'text': {'vocab_size': 512, 'width': 192, 'max_length': 32},
      'generator': SIZES['small'],
      'task': {'text_dropout': 0.1},
      'optim': {'learning_rate': 7e-4, 'warmup_steps': 500},
      'train': {
        'steps': 12000,
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
