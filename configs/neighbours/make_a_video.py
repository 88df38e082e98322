r"""Make-A-Video: its decoder, and with arguments its two enlargements.

    phenaki train --config configs/neighbours/make_a_video.py \
      --workdir runs/make_a_video
    phenaki train --config configs/neighbours/make_a_video.py:stage=low \
      --workdir runs/make_a_video_256
    phenaki train --config configs/neighbours/make_a_video.py:stage=high \
      --workdir runs/make_a_video_768

Make-A-Video (Singer et al., arXiv 2209.14792) learns pictures from images with
captions, and motion from clips without. Nobody has trained it with this code,
and the paper states no hours; `phenaki plan` counts them for TPUs and GPUs.

Published numbers:

- section 3 and figure 2: a decoder of 16 frames of 64 x 64, an enlargement to
  256 x 256 over space and time, and one to 768 x 768 of single frames, with the
  same noise in all frames of a clip (section 3.2.3)
- section 3.2: pseudo-3-D convolutions and attention, which start as the image
  model
- unCLIP (Ramesh et al., arXiv 2204.06125, table 3), whose image model this
  one follows: widths 512, 1024, 1536, 2048 with three blocks of a stage,
  attention at 32, 16 and 8 with heads of 64; enlargements of widths 320, 640,
  960, 1280 with three blocks, and 192, 192, 384, 384, 768, 768 with two, both
  without attention. The paper prints no widths of its own

What differs here: cross-attention reads vectors of a T5 encoder instead of a
CLIP embedding of a frame, and the clips of the decoder have no caption
(`data.clip_captions`); the two-stage default of `phenaki story` stands for the
prior (docs/diffusion.md); what is known of a clip is on the canvas, which also
interpolates, instead of a network of its own; the last enlargement is threefold
in four stages of the six, as its sides are divided by eight; sizes change by
averages, and residual blocks that unCLIP resizes in are absent.
"""

import ml_collections

from phenaki_jax import config

STAGES = ('decoder', 'low', 'high')
