"""C-ViViT `tiny` on a manifest: WebVid-layout clips, LAION-layout images.

    phenaki data build --webvid DIR --img2dataset DIR --out runs/lpc_data
    phenaki train --config configs/tokenizer/lpc.py --workdir runs/lpc_tok

Another manifest is an argument of the config, as in
`configs/tokenizer/lpc.py:manifest=DIR`. One CPU core: about half an hour.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.tokenizer.config import SIZES


def get_config(arg=''):
  arg = config.parse_arg(arg, manifest='runs/lpc_data')
  return ml_collections.ConfigDict(
    {
      'kind': 'tokenizer',
      'name': 'tokenizer_lpc',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (48, 48),
        'frames': 9,
        'batch_size': 16,
        'image_share': 0.25,
        'cache_bytes': 1_000_000_000,
      },
      'tokenizer': {**SIZES['tiny'], 'first_frame': 'apart'},
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 7e-3,
        'adam_learning_rate': 3e-2,
        'warmup_steps': 40,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 8000,
        'log_every': 50,
        'checkpoint_every': 500,
        'evaluate_every': 2000,
      },
    }
  )
