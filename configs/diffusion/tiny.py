r"""Diffusion of the pixels of StoryWorld `easy` by a small space-time U-Net.

    phenaki train --config configs/diffusion/tiny.py --workdir runs/diffusion

Two CPU cores: about an hour. With the argument `latents` it denoises the
latents of a tokenizer, which is faster:

    phenaki train --config configs/diffusion/tiny.py:latents \
      --workdir runs/latents --set tokenizer_dir=runs/tokenizer
"""

import pathlib

from phenaki_jax import config

GENERATOR = pathlib.Path(__file__).parents[1] / 'generator' / 'tiny.py'


def get_config(arg=''):
  """Return `generator/tiny.py` with another model on the same data."""
  arg = config.parse_arg(arg, latents=False)
  values = config.load(GENERATOR)
  with values.unlocked():
    del values.generator, values.sampling
    values.kind, values.name = 'diffusion', 'diffusion_tiny'
    values.data.update({'batch_size': 15, 'image_share': 0.2})
    values.diffusion = {'patch': 2, 'widths': (48, 96), 'head_dim': 32}
    values.sampling = {'steps': 50, 'guidance': 1.0}
    values.optim.update({'adam_learning_rate': 1e-2})
    if arg.latents:
      values.name = 'diffusion_latents'
      values.diffusion = {
        'values': 'latents',
        'scale': 0.7,
        'widths': (96, 128),
        'blocks': 2,
        'attention': 2,
        'head_dim': 32,
      }
      values.tokenizer = config.load(
        GENERATOR.parents[1] / 'tokenizer' / 'tiny.py'
      ).tokenizer
  return values
