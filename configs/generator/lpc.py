r"""The masked transformer `tiny` on a manifest, after its tokenizer.

    phenaki train --config configs/generator/lpc.py --workdir runs/lpc_gen \
      --set tokenizer_dir=runs/lpc_tok

Another manifest than `runs/lpc_data` is an argument of the config, as in
`configs/generator/lpc.py:manifest=DIR`. One CPU core: about an hour.
`configs/generator/lpc.py:gpu` is the larger model that ships, in bfloat16 for
one GPU: its 3,350 steps from cached tokens took four minutes of an H100.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` on other data, with a larger vocabulary."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data', gpu=False)
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
    if arg.gpu:
      _for_a_gpu(values)
  return values


def _for_a_gpu(values):
  values.data.update(
    {
      'size': (64, 64),
      'batch_size': 256,
      'image_share': 0.3,
      'frame_cache_bytes': 20_000_000_000,
      'num_threads': 12,
      'prefetch': 16,
    }
  )
  values.task.update(
    {'reencoded_context': 0.5, 'prediction_share': 0.25, 'balance': 'examples'}
  )
  values.generator.update(
    {
      'width': 256,
      'num_layers': 6,
      'num_heads': 4,
      'mlp_dim': 1024,
      'dtype': 'bfloat16',
    }
  )
  values.train.update(
    {'steps': 6000, 'checkpoint_every': 2000, 'evaluate_every': 6000}
  )
