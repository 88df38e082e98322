r"""Gen-1: latent diffusion of clips by a pseudo-3-D U-Net.

    phenaki train --config configs/neighbours/gen1.py \
      --workdir runs/gen1 --set tokenizer_dir=runs/autoencoder

Gen-1 (Esser et al., arXiv 2302.03011) makes a clip from structure (depth) and
content (an image or a text). Nobody has trained it with this code, and the
paper states no hours; `phenaki plan` counts them for TPUs and GPUs.

Published numbers:

- section 3.1: latents of a frame are an eighth of its sides, of four channels,
  and frames are encoded alone; a 1-D convolution over time follows each 2-D
  convolution, and attention over time each attention within frames
- section 3.2: the network predicts the velocity; structure is depth, as
  channels of the input; content is a CLIP image embedding, here of width 768,
  by cross-attention
- section 3.3: images are 12.5% of the batches; text or content is dropped for
  guidance
- section 4.1: clips of 8 frames, every fourth of a video, of 448 x 256; 1152
  clips in a batch of videos; 240M images and 6.4M clips
- Stable Diffusion 1.x, whose shapes the widths are (see `ar_ldm.py`): the paper
  starts from a latent diffusion model and prints no widths of its own

What differs here: depth is read in patches of its pixels, and its blur level as
a scalar, where Gen-1 has 4 channels of encoded depth and 4 of the level; an
image of the content is its latents without their places, in attention of its
own, and a text is vectors of a text encoder, where both are one CLIP vector;
images are mixed into each batch, and all stages are one run at blur levels of
0..7; and what `ar_ldm.py` says of the U-Net and the autoencoder.

`phenaki edit restyle CLIP --model runs/gen1 --content IMAGE` then makes a clip
anew (docs/conditioning.md).
"""

import pathlib

import ml_collections

from phenaki_jax import config

AR_LDM = pathlib.Path(__file__).with_name('ar_ldm.py')


def get_config(arg=''):
  """Return latent diffusion of clips of 8 frames, on the U-Net of AR-LDM."""
  arg = config.parse_arg(
    arg, manifest='runs/gen1_data', depth='dpt-large.safetensors'
  )
  base = config.load(AR_LDM)
  values = ml_collections.ConfigDict(
    {
      'kind': 'diffusion',
      'name': 'gen1',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (256, 448),
        'frames': 8,
        'fps': 6.0,
        # 1024 clips and 128 images.
        'batch_size': 1152,
        'image_share': 1 / 9,
        'continuation_share': 0.0,
        'context_frames': 1,
      },
      'tokenizer': base.tokenizer.to_dict(),
      'text': base.text.to_dict(),
      'diffusion': {
        **base.diffusion.to_dict(),
        'schedule': 'scaled_linear',
        'target': 'velocity',
        'ports': {
          'canvas': True,
          'memory': ('content',),
          'memory_every': 1,
          'memory_slots': 1,
          'scalars': ('level',),
        },
      },
      'task': {
        'prediction_share': 0.0,
        'prediction_frames': 1,
        'structure_share': 1.0,
        'depth_weights': arg.depth,
        'content_share': 0.9,
        'text_dropout': 0.5,
        'time_off_clips': 0.125,
      },
      'sampling': {'steps': 50, 'guidance': 7.5},
      'optim': {'optimizer': 'adamw', 'learning_rate': 1e-4},
      'mesh': {'data': 1, 'fsdp': -1},
      'train': {
        'steps': 110_000,
        'log_every': 100,
        'checkpoint_every': 1000,
        'evaluate_every': 5000,
      },
    }
  )
  return values
