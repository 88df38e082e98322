"""The sizes that are timed: those of the paper, and tiny ones for a CPU."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from phenaki_jax import config as config_lib
from phenaki_jax.masked_transformer.config import SIZES, GeneratorConfig
from phenaki_jax.tokenizer import config as tokenizer_lib
from phenaki_jax.tokenizer.config import TokenizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shapes:
  """What is timed.

  Attributes:
    generators: the generators, by name.
    clips: for each, the largest batch that is tried, by what the backward pass
      recomputes; from the fastest to what needs the least memory.
    sampled: the generator that samples.
    tokenizer: the tokenizer that turns its tokens into frames.
    size: height and width of a frame in pixels.
    text_length: vectors of a text.
    context: K, context frames of every window but the first.
    frames: frames of the long story.
    decoding: numbers of decoding steps.
    matmul: side of the square matrices of the matmul.
    copied: bytes of the array that is copied.
    least_steps: optimizer steps that are timed at least.
    most_seconds: seconds after which no further steps are timed.
  """

  generators: Mapping[str, GeneratorConfig]
  clips: Mapping[str, Mapping[str, int]]
  sampled: str
  tokenizer: TokenizerConfig
  size: tuple[int, int]
  text_length: int
  context: int
  frames: int
  decoding: tuple[int, ...]
  matmul: int
  copied: int
  least_steps: int = 5
  most_seconds: float = 10.0


def _generator(**values: Any) -> GeneratorConfig:
  return config_lib.build(GeneratorConfig, values)


def _full() -> Shapes:
  half = {'dtype': 'bfloat16', 'scan': True}
  return Shapes(
    generators={
      # The size `base`: 12 blocks of 768, on vectors of a T5 encoder.
      'base': _generator(
        **SIZES['base'], text_width=768, remat='matmuls', **half
      ),
      'paper_0p9b': _generator(**SIZES['paper_0p9b']),
      'paper_1p8b': _generator(**SIZES['paper_1p8b']),
    },
    clips={
      'base': {'none': 16, 'matmuls': 64},
      'paper_0p9b': {'matmuls': 24, 'full': 64},
      'paper_1p8b': {'matmuls': 16, 'full': 32},
    },
    sampled='paper_1p8b',
    # As `configs/tokenizer/paper.py`.
    tokenizer=config_lib.build(
      TokenizerConfig, {**tokenizer_lib.SIZES['paper'], **half}
    ),
    size=(128, 128),
    text_length=128,
    context=5,
    frames=1024,
    decoding=(12, 24, 48),
    matmul=8192,
    copied=2**31,
  )


def _tiny() -> Shapes:
  small = {
    'width': 16,
    'num_layers': 2,
    'num_heads': 2,
    'mlp_dim': 32,
    'text_width': 8,
    'grid': (3, 2, 2),
    'codebook_size': 16,
    'dtype': 'bfloat16',
    'scan': True,
    'remat': 'matmuls',
  }
  return Shapes(
    generators={
      'base': _generator(**small),
      'paper_0p9b': _generator(**small, positions='learned'),
      'paper_1p8b': _generator(**small, positions='learned'),
    },
    clips={
      'base': {'none': 2},
      'paper_0p9b': {'matmuls': 2},
      'paper_1p8b': {'matmuls': 2, 'full': 2},
    },
    sampled='paper_1p8b',
    tokenizer=config_lib.build(
      TokenizerConfig,
      {
        'width': 16,
        'num_heads': 2,
        'mlp_dim': 16,
        'spatial_layers': 1,
        'temporal_layers': 1,
        'quantizer': 'vq',
        'vq_codes': 16,
        'vq_dim': 4,
        'dtype': 'bfloat16',
        'scan': True,
      },
    ),
    size=(16, 16),
    text_length=4,
    context=3,
    frames=12,
    decoding=(2, 3),
    matmul=64,
    copied=2**16,
    least_steps=2,
    most_seconds=0.1,
  )


SHAPES = {'full': _full, 'tiny': _tiny}
"""The sizes by name; 'tiny' shows on a CPU that the program works."""
