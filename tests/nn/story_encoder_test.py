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
    lambda key: ENCODER.init(key, HISTORY, TEXT, TEXT_MASK, PACKING),
    jax.random.key(0),
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(BITS.normal(0, 0.4, leaf.shape), jnp.float32),
    sharding.unbox(shapes)['params'],
  )


@jax.jit
def _encode(history, text):
  return ENCODER.apply({'params': _params()}, history, text, TEXT_MASK, PACKING)


def _found(history=HISTORY, text=TEXT):
  return np.asarray(_encode(history, text))


def test_it_is_what_a_causal_block_adds_to_the_own_caption():
  params, found = _params(), _found()
  for row in range(2):
    for frame in range(2):
      count = EARLIER[row, frame]
      own = 0 if row == 0 else 1 + frame
      words = [
        *(
          HISTORY.captions[row, slot, HISTORY.spoken[row, slot]]
          for slot in range(count)
        ),
        TEXT[own, TEXT_MASK[own]],
      ]
      vectors = np.stack([one.mean(0) for one in words])
      x = vectors @ params['caption']['kernel']
      x = x + params['slots_embedding'][: count + 1]
      causal = np.tril(np.ones((count + 1,) * 2, bool))
      y = Block(CONFIG).apply({'params': params['block']}, x[None], causal[None])
      expected = (y[0] - x)[-1] if count else np.zeros(16)
      np.testing.assert_allclose(found[row, frame], expected, atol=1e-5)


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
