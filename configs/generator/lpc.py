r"""The masked transformer `tiny` on a manifest, after its tokenizer.

    phenaki train --config configs/generator/lpc.py --workdir runs/lpc_gen \
      --set tokenizer_dir=runs/lpc_tok

Another manifest than `runs/lpc_data` is an argument of the config, as in
`configs/generator/lpc.py:manifest=DIR`. One CPU core: about an hour.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` on other data, with a larger vocabulary."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data')
  values = config.load(pathlib.Path(__file__).with_name('tiny.py'))
  with values.unlocked():
    values.name = 'generator_lpc'
    values.data.update(
      {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (48, 48),
        'batch_size': 20,
        'image_share': 0.2,
        'frame_cache_bytes': 1_000_000_000,
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
