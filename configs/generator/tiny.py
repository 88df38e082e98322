r"""The masked transformer `tiny` on StoryWorld `easy`, after its tokenizer.

    phenaki train --config configs/generator/tiny.py --workdir runs/generator \
      --set tokenizer_dir=runs/tokenizer

Two CPU cores: about 12 minutes.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_tiny',
      'seed': 0,
      'data': {
        'source': 'storyworld',
        'subset': 'easy',
        'size': (32, 32),
        'frames': 9,
        'batch_size': 40,
        'image_share': 0.2,
        'continuation_share': 0.5,
        'context_frames': 5,
      },
      'text': {'vocab_size': 256, 'width': 128, 'max_length': 32},
      'generator': SIZES['tiny'],
      'task': {'text_dropout': 0.1},
      'optim': {'learning_rate': 1e-3, 'warmup_steps': 100},
      'train': {
        'steps': 2000,
        'log_every': 20,
        'checkpoint_every': 250,
        'evaluate_every': 500,
      },
    }
  )
