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
        'batch_size': 20,
        'image_share': 0.2,
        'continuation_share': 0.5,
        'context_frames': 5,
      },
      'text': {
        'vocab_size': 128,
        'width': 128,
        'num_layers': 2,
        'num_heads': 4,
        'head_dim': 32,
        'mlp_dim': 256,
        'max_length': 36,
      },
      'generator': SIZES['small'],
      'task': {'text_dropout': 0.1},
      'sampling': {'guidance': 1.0, 'steps': 18},
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 1e-2,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.995,
      },
      'train': {
        'steps': 10000,
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
