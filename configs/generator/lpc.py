r"""The masked transformer `tiny` on a manifest, after its tokenizer.

    phenaki train --config configs/generator/lpc.py --workdir runs/lpc_gen \
      --set tokenizer_dir=runs/lpc_tok

Another manifest than `runs/lpc_data` is an argument of the config, as in
`configs/generator/lpc.py:manifest=DIR`. One CPU core: about an hour.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  arg = config.parse_arg(arg, manifest='runs/lpc_data')
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_lpc',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (48, 48),
        'frames': 9,
        'batch_size': 20,
        'image_share': 0.2,
        'cache_bytes': 1_000_000_000,
      },
      'text': {'vocab_size': 1024, 'width': 128, 'max_length': 32},
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
        'steps': 4000,
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
