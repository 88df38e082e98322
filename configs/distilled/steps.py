r"""A generator of few decoding steps, distilled from an unguided one.

    phenaki train --config configs/distilled/steps.py:teacher=runs/unguided \
      --workdir runs/few_steps

The student takes 4 decoding steps. For the reference, one CPU core: about 4
minutes.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `guidance.py` with a teacher that takes several decoding steps."""
  chosen = config.parse_arg(arg, teacher='runs/unguided', steps=4)
  values = config.load(pathlib.Path(__file__).with_name('guidance.py'))
  values.name = f'distilled_{chosen.steps}_steps'
  with values.unlocked():
    values.distillation = {
      'teacher': chosen.teacher,
      'steps': chosen.steps,
    }
  values.sampling.update({'steps': chosen.steps, 'schedule': 'quartic'})
  values.optim.update({'learning_rate': 5e-4, 'adam_learning_rate': 1e-3})
  values.train.steps = 300
  return values
