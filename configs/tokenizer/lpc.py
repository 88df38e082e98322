"""C-ViViT `tiny` on a manifest: WebVid-layout clips, LAION-layout images.

    phenaki data build --webvid DIR --img2dataset DIR --out runs/lpc_data
    phenaki train --config configs/tokenizer/lpc.py --workdir runs/lpc_tok

Another manifest is an argument of the config, as in
`configs/tokenizer/lpc.py:manifest=DIR`. One CPU core: about half an hour.
`configs/tokenizer/lpc.py:gpu` is a larger model, in bfloat16 for one GPU. The
one that ships is smaller and was trained on two CPU cores; docs/results.md has
the command of such a model.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` on other data, with the first frame apart."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data', gpu=False)
  values = config.load(pathlib.Path(__file__).with_name('tiny.py'))
  with values.unlocked():
    values.name = 'tokenizer_lpc'
    values.data.update(
      {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (48, 48),
        'batch_size': 16,
        'image_share': 0.25,
        'frame_cache_bytes': 1_000_000_000,
      }
    )
    values.tokenizer.first_frame = 'apart'
    values.train.update(
      {'steps': 8000, 'log_every': 50, 'evaluate_every': 2000}
    )
    if arg.gpu:
      _for_a_gpu(values)
  return values


def _for_a_gpu(values):
  values.data.update(
    {
      'size': (64, 64),
      'batch_size': 192,
      'image_share': 1 / 3,
      'frame_cache_bytes': 20_000_000_000,
      'num_threads': 12,
      'prefetch': 16,
    }
  )
  values.tokenizer.update(
    {
      'first_frame': 'repeated',
      'width': 192,
      'num_heads': 6,
      'mlp_dim': 768,
      'spatial_layers': 4,
      'temporal_layers': 2,
      'fsq_levels': (8, 8, 8, 8),
      'dtype': 'bfloat16',
    }
  )
  values.losses = {'l2': 0.5, 'l1': 0.2, 'edge': 0.3, 'detail': 1.0}
  values.optim.update(
    {'learning_rate': 5e-3, 'adam_learning_rate': 2e-2, 'ema_decay': 0.998}
  )
  values.train.update(
    {'steps': 4000, 'checkpoint_every': 2000, 'evaluate_every': 4000}
  )
