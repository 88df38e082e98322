r"""StoryDALL-E: a transformer of its size, retro-fitted with a source frame.

    phenaki train --config configs/neighbours/storydalle.py \
      --workdir runs/storydalle --set tokenizer_dir=runs/vqgan

StoryDALL-E (Maharana et al., arXiv 2209.06192) continues a story from its first
frame. It adds cross-attention to that frame to a pretrained minDALL-E. Nobody
has trained it with this code, and the paper states no hours; `phenaki plan`
counts them for TPUs and GPUs. Its data are films of five frames a scene, as
`phenaki evaluate --story-set` generates them:

    phenaki data stories --set pororo --path data/pororo --out runs/films \
      --size 256 --frames 5 --fps 1
    phenaki data build --stories runs/films/train --out runs/pororo_data

Published numbers:

- section 3.3 and the released code: the transformer of minDALL-E (1.3B), 42
  blocks of width 1536 with 24 heads and MLPs of 6144; cross-attention to the
  source frame in every third block, 14 in all, whose queries are image tokens
- minDALL-E: 16 x 16 tokens of a frame of 256 x 256, of 16,384 codes of width
  256; 64 vectors of text
- section 3.3 and the released code: the captions of a story, each as one
  vector, pass through a causal block of width 1536 (the global story encoder)
- section 4: stories of five frames, the first of which is given

What differs here: tokens are masked, and not predicted from left to right; a
picture of a story is a scene of a film, whose clip of five frames begins with
one of the scene before; the source of a training clip is one of its own frames;
text is not a prefix of the sequence, but vectors of T5-base
(768 wide), read by cross-attention, whose means stand for vectors of sentences;
the vector of the story is added to the tokens; first frames and captions of
earlier scenes are also read by the cross-attention to the source frame and by
one to captions (99M); the tokenizer is a ViT-VQGAN for single frames instead of
a convolutional VQGAN.
"""

import ml_collections

from phenaki_jax import config


def get_config(arg=''):
  """Return a model that reads a source frame, and earlier scenes."""
  arg = config.parse_arg(arg, manifest='runs/pororo_data')
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'storydalle',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (256, 256),
        'frames': 5,
        'fps': 1.0,
        'batch_size': 64,
        'image_share': 0.0,
        'continuation_share': 0.8,
        'context_frames': 1,
      },
      'tokenizer': {
        'patch': (16, 16),
        'tubelet': 1,
        'first_frame': 'repeated',
        'width': 768,
        'num_heads': 12,
        'mlp_dim': 3072,
        'spatial_layers': 12,
        'temporal_layers': 0,
        'quantizer': 'vq',
        'vq_codes': 16_384,
        'vq_dim': 256,
        'dtype': 'bfloat16',
      },
      'text': {'max_length': 64},
      'generator': {
        'width': 1536,
        'num_layers': 42,
        'num_heads': 24,
        'mlp_dim': 6144,
        'positions': 'learned',
        'text_width': 768,
        'ports': {
          'memory': ('source', 'history'),
          'memory_every': 3,
          'memory_slots': 4,
          'story': True,
        },
        'remat': 'matmuls',
        'dtype': 'bfloat16',
      },
      'task': {
        'source_share': 1.0,
        'history_share': 1.0,
        'prediction_share': 0.0,
        'prediction_frames': 1,
      },
      'sampling': {'steps': 24},
      'optim': {
        'optimizer': 'adamw',
        'learning_rate': 1e-4,
        'warmup_steps': 1000,
        'b1': 0.9,
        'b2': 0.99,
        'weight_decay': 0.0,
      },
      'mesh': {'data': 1, 'fsdp': -1},
      'train': {
        'steps': 8_000,
        'log_every': 20,
        'checkpoint_every': 500,
        'evaluate_every': 1000,
      },
    }
  )
