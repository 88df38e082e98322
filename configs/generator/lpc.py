r"""The masked transformer `tiny` on a manifest, after its tokenizer.

    phenaki train --config configs/generator/lpc.py --workdir runs/lpc_gen \
      --set tokenizer_dir=runs/lpc_tok

One CPU core: about an hour.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` on other data, with a larger vocabulary."""
  config.parse_arg(arg)
  values = config.load(pathlib.Path(__file__).with_name('tiny.py'))
  with values.unlocked():
    values.name = 'generator_lpc'
    values.data.update(
      {
        'source': 'manifest',
        'manifest': 'runs/lpc_data',
        'size': (48, 48),
        'batch_size': 20,
        'image_share': 0.2,
        'cache_bytes': 1_000_000_000,
      }
    )
    values.text.update(
      {
        'vocab_size': 1024,
        'width': 128,
        'head_dim': 32,
        'mlp_dim': 256,
        'max_length': 32,
      }
    )
    values.train.update({'steps': 4000, 'log_every': 50})
  return values
