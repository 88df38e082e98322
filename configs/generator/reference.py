r"""The masked transformer of the reference checkpoint: StoryWorld at 64x64.

    phenaki train --config configs/generator/reference.py \
      --workdir runs/reference --set tokenizer_dir=runs/reference_tokenizer

One CPU core: about an hour. Interrupted, the same command goes on. The one that
ships had two schedules, of 7,000 and 16,000 steps, and stopped at step 13,769.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_reference',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
        'size': (64, 64),
        'frames': 9,
        'batch_size': 25,
        'image_share': 0.4,
        'continuation_share': 0.5,
        'context_frames': 5,
      },
      'text': {
        'vocab_size': 256,
        'width': 128,
        'num_layers': 2,
        'num_heads': 4,
        'head_dim': 32,
        'mlp_dim': 256,
        'max_length': 24,
      },
      'generator': SIZES['tiny'],
      'task': {'text_dropout': 0.1},
      'sampling': {
        'guidance': 1.0,
        'temperature': 0.5,
        'steps': 36,
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
        'steps': 14000,
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
