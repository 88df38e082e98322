r"""The masked transformer `tiny` on a manifest, after its tokenizer.

    phenaki train --config configs/generator/lpc.py --workdir runs/lpc_gen \
      --set tokenizer_dir=runs/lpc_tok

Two CPU cores: about 30 minutes.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  config.parse_arg(arg)
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_lpc',
      'seed': 0,
      'data': {
        'source': 'manifest',
        'manifest': 'runs/lpc_data',
        'size': (64, 64),
        'frames': 9,
        'batch_size': 20,
        'image_share': 0.2,
        'cache_bytes': 1_000_000_000,
      },
      'text': {'vocab_size': 1024, 'width': 128, 'max_length': 32},
      'generator': SIZES['tiny'],
      'task': {'text_dropout': 0.1},
      'sampling': {'guidance': 1.0, 'steps': 18},
      'optim': {'learning_rate': 1e-3, 'warmup_steps': 100},
      'train': {
        'steps': 3000,
        'log_every': 20,
        'checkpoint_every': 250,
        'evaluate_every': 500,
      },
    }
  )
