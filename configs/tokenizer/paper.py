r"""C-ViViT of the paper: 11 frames of 128x128 pixels, 8,192 codes of VQ.

    phenaki train --workdir runs/paper_tokenizer \
      --config configs/tokenizer/paper.py:image_weights=VGG16,video_weights=I3D

VGG16 and I3D are files of published weights (docs/tokenizer.md); the message of
a run without them says where they come from.

Another manifest than `runs/paper_data` is an argument of the config, and so is
the tokenizer of video prediction on Kinetics-600, with patches of 4x4 pixels:
`configs/tokenizer/paper.py:prediction,manifest=DIR`. It needs several TPUs or
GPUs; nobody has run it with this code yet, and the paper states no hours.

Where the paper gives two values (appendix A.1 and its reconstruction study),
these are the study's: the text-to-video tokenizer was trained as there.
"""

import ml_collections

from phenaki_jax import config
from phenaki_jax.tokenizer.config import SIZES
from phenaki_jax.tokenizer.losses import PAPER


def get_config(arg=''):
  """Return the paper's tokenizer."""
  arg = config.parse_arg(
    arg,
    manifest='runs/paper_data',
    prediction=False,
    image_weights='',
    video_weights='',
  )
  values = ml_collections.ConfigDict(
    {
      'kind': 'tokenizer',
      'name': 'tokenizer_paper',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (128, 128),
        'frames': 11,
        'fps': 8.0,
        'batch_size': 128,
        # The share of images is not stated.
        'image_share': 0.25,
      },
      'tokenizer': {
        **SIZES['paper'],
        'patch': (8, 8),
        'tubelet': 2,
        'first_frame': 'apart',
        'spatial_layers': 4,
        'temporal_layers': 4,
        'vq_codes': 8192,
        'vq_dim': 32,
        'commitment': 0.25,
        'scan': True,
        'remat': 'full',
        'dtype': 'bfloat16',
      },
      'losses': {
        **PAPER,
        'networks': {
          'image_network': 'vgg16',
          'image_weights': arg.image_weights,
          'video_weights': arg.video_weights,
        },
      },
      'optim': {
        'optimizer': 'adamw',
        'learning_rate': 1e-4,
        'warmup_steps': 100_000,
        'decay_steps': 1_000_000,
        'end_factor': 0.0,
        'b1': 0.9,
        'b2': 0.99,
        'weight_decay': 1e-4,
        'clip_norm': 10.0,
      },
      'train': {
        'steps': 1_000_000,
        'log_every': 100,
        'checkpoint_every': 5000,
        'evaluate_every': 10_000,
      },
    }
  )
  if arg.prediction:
    values.name = 'tokenizer_prediction'
    values.data.update({'size': (64, 64), 'image_share': 0.0})
    values.tokenizer.update(
      {'patch': (4, 4), 'spatial_layers': 8, 'temporal_layers': 8}
    )
  return values
