r"""Make-A-Video: its decoder, and with arguments its two enlargements.

    phenaki train --config configs/neighbours/make_a_video.py \
      --workdir runs/make_a_video
    phenaki train --config configs/neighbours/make_a_video.py:low \
      --workdir runs/make_a_video_256
    phenaki train --config configs/neighbours/make_a_video.py:high \
      --workdir runs/make_a_video_768

Make-A-Video (Singer et al., arXiv 2209.14792) learns pictures from images with
captions, and motion from clips without. Nobody has trained it with this code,
and the paper states no hours; `phenaki plan` counts them for TPUs and GPUs.

Published numbers:

- section 3 and figure 2: a decoder of 16 frames of 64 x 64, an enlargement to
  256 x 256 over space and time, and one to 768 x 768 within frames, with the
  same noise in all frames of a clip
- section 3.2: pseudo-3-D convolutions and attention, which start as the image
  model
- unCLIP (Ramesh et al., arXiv 2204.06125, table 3), the kind of image model
  that the paper starts from: widths 512, 1024, 1536, 2048 with three blocks of
  a stage, attention at 32, 16 and 8 with heads of 64, texts of width 2048 in 24
  layers; enlargements of widths 320, 640, 960, 1280 with three blocks, and 192,
  192, 384, 384, 768, 768 with two, both without attention. Make-A-Video prints
  no widths of its own

What differs here: cross-attention reads vectors of a T5 encoder alone, and no
CLIP embedding of a frame; clips have no captions (`data.clip_captions`), and
`phenaki story` draws a still of the prompt first, in place of the prior
(docs/diffusion.md); known frames are on the canvas, which also interpolates,
instead of in a network of its own; the widest stages are as those of unCLIP,
whose blocks also resize; batch sizes and learning rates are ours.
"""

import ml_collections

from phenaki_jax import config

ENLARGEMENT = {'values': 'residual', 'reads_text': False, 'attention': 0}
DECODER = {
  'widths': (512, 1024, 1536, 2048),
  'blocks': 3,
  'attention': 3,
  'head_dim': 64,
  'condition_width': 2048,
}
LOW = {
  **ENLARGEMENT,
  'enlarge': 4,
  'widths': (320, 640, 960, 1280),
  'blocks': 3,
  'condition_width': 1280,
}
HIGH = {
  **ENLARGEMENT,
  'enlarge': 3,
  'shared_noise': True,
  'widths': (192, 192, 384, 384, 768, 768),
  'blocks': 2,
  'condition_width': 768,
}
# T5-XL has the width, the layers and the heads.
TEXT = {
  'vocab_size': 32_128,
  'width': 2048,
  'num_layers': 24,
  'num_heads': 32,
  'head_dim': 64,
  'mlp_dim': 5120,
  'max_length': 256,
}


def get_config(arg=''):
  """Return the decoder, or with `low` or `high` an enlargement."""
  arg = config.parse_arg(arg, manifest='runs/webvid', low=False, high=False)
  values = ml_collections.ConfigDict(
    {
      'kind': 'diffusion',
      'name': 'make_a_video',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (64, 64),
        'frames': 16,
        'fps': 8.0,
        'batch_size': 512,
        'image_share': 0.5,
        'continuation_share': 0.0,
        'context_frames': 1,
        'clip_captions': False,
      },
      'text': TEXT,
      'diffusion': {**DECODER, 'remat': 'full', 'dtype': 'bfloat16'},
      'task': {
        'prediction_share': 0.5,
        'prediction_frames': 1,
        'interpolation_share': 0.2,
      },
      'sampling': {'steps': 64, 'guidance': 4.0},
      'optim': {'optimizer': 'adamw', 'learning_rate': 1e-4},
      'mesh': {'data': 1, 'fsdp': -1},
      'train': {
        'steps': 500_000,
        'log_every': 100,
        'checkpoint_every': 2000,
        'evaluate_every': 10_000,
      },
    }
  )
  if arg.low or arg.high:
    del values.text, values.task, values.sampling
    del values.data.clip_captions
    values.diffusion = {
      **(HIGH if arg.high else LOW),
      'scale': 0.1,
      'degradation': 0.2,
      'remat': 'full',
      'dtype': 'bfloat16',
    }
    side = 768 if arg.high else 256
    values.data.update({'size': (side, side), 'batch_size': 128})
  if arg.high:
    values.data.image_share = 1.0
  return values
