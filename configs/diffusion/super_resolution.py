r"""Super-resolution: clips of the sprite world from 48 to 96 pixels.

    phenaki train --config configs/diffusion/super_resolution.py \
      --workdir runs/large
    phenaki edit enlarge small.mp4 --model runs/large --out large.mp4

The data are `runs/lpc_data_96`, a manifest of frames of at least 96 pixels, or
that of the argument `manifest=DIR`; with `storyworld`, clips of StoryWorld from
24 to 48 pixels. Two CPU cores: about an hour.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  """Return a model that denoises what enlarged frames lack."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data_96', storyworld=False)
  source, side = {'layout': 'manifest', 'path': arg.manifest}, 96
  if arg.storyworld:
    source, side = {'layout': 'storyworld', 'subset': 'easy'}, 48
  return ml_collections.ConfigDict(
    {
      'kind': 'diffusion',
      'name': 'super_resolution',
      'seed': 0,
      'data': {
        'sources': (source,),
        'size': (side, side),
        'frames': 3,
        'context_frames': 1,
        'batch_size': 8,
        'image_share': 0.25,
        'continuation_share': 0.0,
        'frame_cache_bytes': 1_000_000_000,
      },
      'diffusion': {
        'values': 'residual',
        'scale': 0.1,
        'shared_noise': True,
        'degradation': 0.2,
        'reads_text': False,
        'patch': 2,
        'widths': (32, 48),
        'attention': 0,
      },
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 5e-3,
        'adam_learning_rate': 1e-2,
        'warmup_steps': 50,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 2000,
        'log_every': 20,
        'checkpoint_every': 200,
        'evaluate_every': 200,
      },
    }
  )
