r"""A generator that needs no guidance, distilled from a guided one.

    phenaki train --workdir runs/unguided --config configs/distilled/guidance.py
    phenaki train --workdir runs/unguided \
      --config configs/distilled/guidance.py:teacher=runs/generator

The teacher is the reference if none is named; it gives all that this file does
not. The student takes 6 decoding steps, of which the first uncover few tokens,
because all others depend on them. For the reference, one CPU core: about 8
minutes.
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
      'sampling': {
        'steps': 6,
        'schedule': 'cubic',
        'order': 'confidence',
        'choice_temperature': 1.0,
      },
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 1e-3,
        'adam_learning_rate': 2e-3,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 600,
        'log_every': 20,
        'checkpoint_every': 250,
        'evaluate_every': 300,
      },
    }
  )
