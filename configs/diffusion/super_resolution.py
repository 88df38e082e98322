r"""Super-resolution of the sprite world: twice the rows and columns.

    phenaki train --config configs/diffusion/super_resolution.py \
      --workdir runs/large
    phenaki edit enlarge small.mp4 --model runs/large --out large.mp4

The data are `runs/lpc_data_72`, a manifest of clips of 72 pixels, which a
character nearly fills, or that of the argument `manifest=DIR`; with
`storyworld`, clips of StoryWorld. The network reads single frames, of any size:
48 pixels are made 96. One CPU core: six minutes.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  """Return a model that denoises what enlarged frames lack."""
  arg = config.parse_arg(arg, manifest='runs/lpc_data_72', storyworld=False)
  source, side = {'layout': 'manifest', 'path': arg.manifest}, 72
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
        'frames': 1,
        'context_frames': 1,
        'batch_size': 16,
        'image_share': 0.0,
        'continuation_share': 0.0,
        'frame_cache_bytes': 1_000_000_000,
      },
      'diffusion': {
        'values': 'residual',
        'scale': 0.1,
        'shared_noise': True,
        'start_share': 0.8,
        'degradation': 0.05,
        'reads_text': False,
        'patch': 2,
        'widths': (48,),
        'attention': 0,
      },
      'optim': {
        'optimizer': 'muon',
        'learning_rate': 5e-3,
        'adam_learning_rate': 1e-2,
        'warmup_steps': 20,
        'end_factor': 0.02,
        'ema_decay': 0.99,
      },
      'train': {
        'steps': 700,
        'log_every': 20,
        'checkpoint_every': 100,
        'evaluate_every': 700,
      },
    }
  )
