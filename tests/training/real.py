"""The real tasks in the smallest sizes, and batches of clips and images."""

import functools

import jax
import numpy as np

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

TOKENIZER = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=4,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=1,
)


@functools.cache
def _frozen():
  return sharding.unbox(jax.jit(tokenizer_task().init)(rngs.root(9)))


def tokenizer_task():
  return TokenizerTask(config=TOKENIZER)


SLOTS = 2


def generator_task(dropout=0.0, *, history=False):
  text = TextConfig(
    vocab_size=32,
    width=16,
    num_layers=1,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    max_length=6,
  )
  config = GeneratorConfig(
    codebook_size=TOKENIZER.codebook_size,
    grid=TOKENIZER.grid(3, (8, 8)),
    width=16,
    num_layers=1,
    num_heads=2,
    mlp_dim=32,
    dropout=dropout,
    ports=PortsConfig(memory=('history',), memory_every=1, memory_slots=SLOTS)
    if history
    else PortsConfig(),
  )
  return GeneratorTask(
    config=config,
    text=text,
    tokenizer=TOKENIZER,
    tokenizer_params=_frozen(),
    training=GeneratorTaskConfig(history_share=0.8 if history else 0.0),
  )


def batch(step, *, history=False):
  bits = np.random.default_rng(step)
  text = bits.integers(2, 32, (16, 6), dtype=np.int32)
  made = {
    'clips': {
      'pixels': bits.integers(0, 256, (8, 3, 8, 8, 3), dtype=np.uint8),
      'text': text[:8],
      'num_frames': np.array([3] * 7 + [1], np.int32),
      'context_frames': np.zeros(8, np.int32),
    },
    'images': {
      'pixels': bits.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8),
      'text': text[8:],
    },
  }
  if history:
    shape = (8, SLOTS, 8, 8, 3)
    made['clips'] |= {
      'history_pixels': bits.integers(0, 256, shape, dtype=np.uint8),
      'history_text': bits.integers(2, 32, (8, SLOTS, 6), dtype=np.int32),
      'history_count': np.arange(8, dtype=np.int32) % (SLOTS + 1),
    }
  return made
