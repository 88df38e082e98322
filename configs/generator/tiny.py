r"""The masked transformer `tiny` on StoryWorld `easy`, after its tokenizer.

    phenaki train --config configs/generator/tiny.py --workdir runs/generator \
      --set tokenizer_dir=runs/tokenizer

Two CPU cores: about 14 minutes.
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
        'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
        'size': (32, 32),
        'frames': 9,
        'batch_size': 25,
        'image_share': 0.4,
        'continuation_share': 0.5,
        'context_frames': 5,
      },
      'text': {
        'vocab_size': 256,
        'width': 96,
        'num_layers': 2,
        'num_heads': 4,
        'head_dim': 24,
        'mlp_dim': 192,
        'max_length': 24,
      },
      'generator': SIZES['tiny'],
      'task': {'text_dropout': 0.1},
      'sampling': {
        'guidance': 1.0,
        'temperature': 0.5,
        'steps': 28,
        'order': 'random',
      },
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 5e-3,
        'adam_learning_rate': 3e-2,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.995,
      },
      'train': {
        'steps': 5000,
        'log_every': 20,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
