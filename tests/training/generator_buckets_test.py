"""The generator's rows of batches whose grid is not that of its config."""

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.rows import Layout


def test_images_take_rows_of_the_length_of_clips():
  task = GeneratorTask(
    config=GeneratorConfig(codebook_size=12, grid=(3, 2, 2), width=16),
    text=TextConfig(max_length=5),
    tokenizer=TokenizerConfig(patch=(4, 4)),
    tokenizer_params={},
    # The shape of another bucket.
    layout=Layout(num_clips=8, num_images=8, length=3),
    is_padded=False,
  )
  draw = np.random.default_rng(0)
  text = np.ones((3, 5), np.int32)
  batch = {
    'clips': {
      'tokens': draw.integers(0, 12, (3, 2, 2, 4), np.int32),
      'text': text,
      'num_frames': np.full(3, 3, np.int32),
      'context_frames': np.zeros(3, np.int32),
    },
    'images': {
      'tokens': draw.integers(0, 12, (3, 2, 4), np.int32),
      'text': text,
    },
  }
  assert task.num_examples(batch) == {'clips': 3, 'images': 3}
  rows = task.rows({}, jax.tree.map(jnp.asarray, batch), rng.root(0))
  # Two rows hold three images, two of them in the first.
  assert rows.ids.shape == (5, 2, 2, 4)
  np.testing.assert_array_equal(rows.ids[:3], batch['clips']['tokens'])
  images = np.asarray(rows.ids[3:]).reshape(-1, 2, 4)
  np.testing.assert_array_equal(images[:3], batch['images']['tokens'])
  segments = np.asarray(jax.device_get(rows.segments))
  assert segments[3:].tolist() == [[0, 1], [0, -1]]
  assert np.asarray(rows.hidden).any(axis=(1, 2, 3)).all()
