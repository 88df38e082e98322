"""The story encoder equals a causal block over all captions of a story."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.blocks import Block
from phenaki_jax.nn.conditions import Entries
from phenaki_jax.nn.config import PortsConfig, TransformerConfig
from phenaki_jax.nn.story_encoder import StoryEncoder

CONFIG = TransformerConfig(width=16, num_heads=2, mlp_dim=32)
ENCODER = StoryEncoder(CONFIG, slots=3)
BITS = np.random.default_rng(0)
# A clip, which sees two earlier scenes, and a row of two images, which are the
# first and the second scene of their story.
PACKING = Packing(packed=1)
EARLIER = np.array([[2, 2], [0, 1]])
TEXT = BITS.normal(size=(3, 4, 8)).astype(np.float32)
TEXT_MASK = np.arange(4)[None] < [[4], [2], [3]]
HISTORY = Entries(
  values=np.zeros((2, 3, 1), np.int32),
  slots=np.array([[0, 1, 2]] * 2, np.int32),
  visible=np.arange(3)[None, None] < EARLIER[..., None],
  captions=BITS.normal(size=(2, 3, 5, 8)).astype(np.float32),
  spoken=np.arange(5)[None, None] < BITS.integers(1, 5, (2, 3, 1)),
)


@functools.cache
def _params():
  shapes = jax.eval_shape(
    ENCODER.init, jax.random.key(0), HISTORY, TEXT, TEXT_MASK, PACKING
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(BITS.normal(0, 0.4, leaf.shape), jnp.float32),
    sharding.unbox(shapes)['params'],
  )


_apply = jax.jit(ENCODER.apply)
_block = jax.jit(Block(CONFIG).apply)


def _found(history=HISTORY, text=TEXT):
  inputs = history, text, TEXT_MASK, PACKING
  return np.asarray(_apply({'params': _params()}, *inputs))


def _plain(captions):
  """Return what a causal block adds to the last of the captions of a story."""
  params = jax.tree.map(np.asarray, _params())
  x = np.stack([vectors.mean(0) for vectors in captions])
  x = x @ params['caption']['kernel']
  x += params['slots_embedding'][: len(x)]
  causal = np.tril(np.ones((1, len(x), len(x)), bool))
  y = _block({'params': params['block']}, x[None], causal)
  return np.asarray(y)[0, -1] - x[-1]


def test_it_is_what_a_causal_block_adds_to_the_own_caption():
  told = [
    [words[spoken] for words, spoken in zip(*row, strict=True)]
    for row in zip(HISTORY.captions, HISTORY.spoken, strict=True)
  ]
  own = [words[mask] for words, mask in zip(TEXT, TEXT_MASK, strict=True)]
  clip = _plain([*told[0][:2], own[0]])
  images = np.zeros(16), _plain([told[1][0], own[2]])
  np.testing.assert_allclose(_found(), [[clip, clip], images], atol=1e-5)


def test_absent_captions_and_padding_have_no_influence():
  first = _found()
  absent = ~HISTORY.visible.any(1)[..., None] | ~HISTORY.spoken
  other = np.where(absent[..., None], 9.0, HISTORY.captions)
  unread = np.where(TEXT_MASK[..., None], TEXT, 9.0)
  found = _found(HISTORY.replace(captions=other.astype(np.float32)), unread)
  np.testing.assert_array_equal(found, first)
  # A scene reads its own caption only beside an earlier one.
  changed = (_found(text=TEXT + 1) != first).any(-1)
  np.testing.assert_array_equal(changed, EARLIER > 0)


@pytest.mark.parametrize(
  ('make', 'words'),
  [
    (
      lambda: PortsConfig(story=True, memory=('source',)),
      "ports.memory is .*; add 'history' to it",
    ),
    (
      lambda: GeneratorConfig(
        text_width=0,
        ports=PortsConfig(story=True, memory=('history',), memory_every=1),
      ),
      'a model without text reads no captions',
    ),
    (
      lambda: DiffusionConfig(
        reads_text=False, ports=PortsConfig(story=True, memory=('history',))
      ),
      'diffusion.reads_text is False',
    ),
  ],
)
def test_a_story_without_captions_is_refused(make, words):
  with pytest.raises(UserError, match=words):
    make()
