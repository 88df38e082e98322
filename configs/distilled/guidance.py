r"""A generator that needs no guidance, distilled from a guided one.

    phenaki train --workdir runs/unguided --config configs/distilled/guidance.py
    phenaki train --workdir runs/unguided \
      --config configs/distilled/guidance.py:teacher=runs/generator

The teacher is the reference if none is named; it gives all that this file does
not. For the reference, one CPU core: about 15 minutes.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  chosen = config.parse_arg(arg, teacher='storyworld')
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'guidance_distilled',
      'distillation': {'teacher': chosen.teacher},
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 1e-3,
        'adam_learning_rate': 2e-3,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 1500,
        'log_every': 20,
        'checkpoint_every': 250,
        'evaluate_every': 500,
      },
    }
  )
