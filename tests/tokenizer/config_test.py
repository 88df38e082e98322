"""The shape of a tokenizer, and the errors for clips that do not fit it."""

import math

import pytest

from phenaki_jax.tokenizer.config import SIZES, TokenizerConfig


@pytest.mark.parametrize(
  ('frames', 'size', 'grid'),
  [
    (1, (8, 8), (1, 1, 1)),
    (9, (64, 64), (5, 8, 8)),
    (11, (128, 128), (6, 16, 16)),
    (3, (16, 40), (2, 2, 5)),
  ],
)
def test_grid(frames, size, grid):
  assert TokenizerConfig().grid(frames, size) == grid


def test_grid_with_other_patch_and_tubelet():
  config = TokenizerConfig(patch=(4, 8), tubelet=3)
  assert config.grid(7, (16, 16)) == (3, 4, 2)


@pytest.mark.parametrize(
  ('frames', 'size', 'message'),
  [
    (0, (8, 8), 'use 1 or 3 frames'),
    (4, (8, 8), 'use 3 or 5 frames'),
    (3, (12, 8), 'a height of 12 pixels is not a multiple of the patch .8.'),
    (3, (8, 20), 'a width of 20 pixels'),
    (3, (4, 8), 'use 8'),
  ],
)
def test_clip_that_does_not_fit_raises(frames, size, message):
  with pytest.raises(ValueError, match=message):
    TokenizerConfig().grid(frames, size)


@pytest.mark.parametrize(
  ('field', 'message'),
  [
    ({'quantizer': 'bsq'}, "quantizer is 'bsq', but it must be 'fsq', 'vq' or"),
    (
      {'lfq_bits': 19},
      'lfq_bits is 19, but it must be less than',
    ),
    (
      {'width': 30, 'num_heads': 4},
      'width 30 must be a multiple of num_heads 4',
    ),
    ({'fsq_levels': (8, 1)}, r'fsq_levels.1 is 1, but it must be greater than'),
    ({'first_frame': 'alone'}, "first_frame is 'alone'"),
    ({'dtype': 'float16'}, "dtype is 'float16'"),
  ],
)
def test_invalid_shape_raises(field, message):
  with pytest.raises(ValueError, match=message):
    TokenizerConfig(**field)


def test_codebook_size_depends_on_the_quantizer():
  assert TokenizerConfig(fsq_levels=(8, 5, 3)).codebook_size == 120
  assert TokenizerConfig(quantizer='vq', vq_codes=99).codebook_size == 99
  lfq = TokenizerConfig(quantizer='lfq', lfq_bits=18)
  assert lfq.codebook_size == 262_144
  assert lfq.code_levels == ()


@pytest.mark.parametrize('name', SIZES)
def test_named_sizes_are_valid(name):
  assert TokenizerConfig(**SIZES[name]).codebook_size > 1


def test_the_per_frame_baseline_has_the_same_depth_and_more_tokens():
  # Phenaki, table 3: 1536 tokens for 11 frames against 2560 for 10.
  paper = TokenizerConfig(**SIZES['paper'])
  baseline = paper.per_frame()
  assert baseline.spatial_layers == 8
  assert baseline.temporal_layers == 0
  assert baseline.width == paper.width
  assert math.prod(paper.grid(11, (128, 128))) == 1536
  assert math.prod(baseline.grid(10, (128, 128))) == 2560
  tiny = TokenizerConfig(**SIZES['tiny']).per_frame()
  assert (tiny.encoder_spatial_layers, tiny.spatial_layers) == (1, 3)
