r"""AR-LDM: the U-Net of Stable Diffusion 1.x, which draws frames of stories.

    phenaki train --config configs/neighbours/ar_ldm.py \
      --workdir runs/ar_ldm --set tokenizer_dir=runs/autoencoder

AR-LDM (Pan et al., arXiv 2211.10950) draws the frames of a story one after the
other by latent diffusion. Nobody has trained it with this code; the paper took
about two days (48 hours) on 8 A100 GPUs. Its data are films of one frame of
each scene:

    phenaki data stories --set flintstones --path data/flintstones \
      --out runs/films --size 512 --frames 1 --fps 1
    phenaki data build --stories runs/films/train --out runs/flintstones_data

Published numbers:

- section 4.1 and the released code: Stable Diffusion 1.5, frames of 512 x 512
  in latents of 64 x 64 x 4; captions of at most 91 tokens (FlintstonesSV);
  AdamW, learning rate 1e-5, 50 epochs, text and history dropped for 0.1
- Stable Diffusion 1.x (Rombach et al., arXiv 2112.10752, and its release):
  widths 320, 640, 1280, 1280; two residual blocks of a stage; an MLP of four
  times the width after attention; a vector of the noise level of 1280;
  cross-attention to vectors of width 768; scaled-linear noise from 0.00085 to
  0.012 in 1000 steps, of which the network predicts the noise; 860M parameters
- CLIP ViT-L/14: a text encoder of 12 layers of width 768 with 12 heads

What differs here: the history is latents and captions of the pictures before,
in attention of its own, and not vectors of BLIP in the memory of the captions,
which adds no parameters to their U-Net but type and slot embeddings; text and
history are dropped independently, and not together; a clip has two frames, the
picture before on the canvas and the one to draw, which layers over time join;
attention is in all four stages instead of three, its MLP is not gated, each
stage has as many blocks on the way up as on the way down, and sizes change by
averages instead of convolutions; the text encoder has the layers of T5; the
autoencoder is a ViT for single frames with latents of four channels instead of
a convolutional one.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  """Return latent diffusion of stories of five pictures."""
  arg = config.parse_arg(arg, manifest='runs/flintstones_data')
  return ml_collections.ConfigDict(
    {
      'kind': 'diffusion',
      'name': 'ar_ldm',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (512, 512),
        'frames': 2,
        'fps': 1.0,
        'batch_size': 32,
        'image_share': 0.0,
        'continuation_share': 1.0,
        'context_frames': 1,
      },
      'tokenizer': AUTOENCODER,
      'text': {
        'vocab_size': 49_408,
        'width': 768,
        'num_layers': 12,
        'num_heads': 12,
        'head_dim': 64,
        'mlp_dim': 3072,
        'activation': 'relu',
        'max_length': 91,
      },
      'diffusion': {
        **STABLE_DIFFUSION,
        'schedule': 'scaled_linear',
        'target': 'noise',
        'ports': {
          'memory': ('history',),
          'memory_every': 1,
          'memory_slots': 4,
        },
      },
      'task': {
        'text_dropout': 0.1,
        'prediction_share': 0.0,
        'prediction_frames': 1,
        'history_share': 0.9,
      },
      'sampling': {'steps': 250, 'guidance': 6.0},
      'optim': {
        'optimizer': 'adamw',
        'learning_rate': 1e-5,
        'warmup_steps': 600,
        'weight_decay': 1e-4,
      },
      'mesh': {'data': 1, 'fsdp': -1},
      'train': {
        'steps': 32_000,
        'log_every': 20,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )


# Frames of factor 8 in four channels; the levels make 4,096 codes.
AUTOENCODER = {
  'patch': (8, 8),
  'tubelet': 1,
  'first_frame': 'repeated',
  'width': 512,
  'num_heads': 8,
  'mlp_dim': 2048,
  'spatial_layers': 8,
  'temporal_layers': 0,
  'fsq_levels': (8, 8, 8, 8),
  'dtype': 'bfloat16',
}

STABLE_DIFFUSION = {
  'values': 'latents',
  'scale': 0.7,
  'widths': (320, 640, 1280, 1280),
  'blocks': 2,
  'attention': 4,
  'head_dim': 40,
  'mlp_ratio': 4,
  'condition_width': 1280,
  'remat': 'full',
  'dtype': 'bfloat16',
}
