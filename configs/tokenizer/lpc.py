"""C-ViViT `tiny` on a manifest: WebVid-layout clips, LAION-layout images.

    phenaki data build --webvid DIR --img2dataset DIR --out runs/lpc_data
    phenaki train --config configs/tokenizer/lpc.py --workdir runs/lpc_tok

Another manifest is an argument of the config, as in
`configs/tokenizer/lpc.py:manifest=DIR`. One CPU core: about half an hour.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` on other data, with the first frame apart."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data')
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
  return values
