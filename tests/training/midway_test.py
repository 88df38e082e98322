"""Windows are parts of the tokens of longer clips."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.midway import cut_windows

COUNT, LATENT, LENGTH, TUBELET = 64, 9, 4, 2


def _clips(num_latent=LATENT, context=0):
  ids = np.arange(COUNT * LATENT * 4).reshape(COUNT, LATENT, 2, 2)
  frames = 1 + (num_latent - 1) * TUBELET
  return {
    'tokens': jnp.asarray(ids, jnp.int32),
    'text': jnp.ones((COUNT, 3), jnp.int32),
    'num_frames': jnp.full(COUNT, frames, jnp.int32),
    'context_frames': jnp.full(COUNT, context, jnp.int32),
  }


@jax.jit
def _windows(clips, share):
  return cut_windows(
    clips, jax.random.key(0), length=LENGTH, share=share, tubelet=TUBELET
  )


def _cut(clips, share=1.0):
  clips = {'reencoded': clips['tokens'], **clips}
  found = _windows(clips, share)
  starts = (found['tokens'][:, 0, 0, 0] - clips['tokens'][:, 0, 0, 0]) // 4
  return {name: np.asarray(x) for name, x in found.items()}, np.asarray(starts)


def test_windows_start_at_any_latent_frame_but_the_first():
  clips = _clips()
  clips['reencoded'] = clips['tokens'] + 1
  found, starts = _cut(clips)
  assert sorted(set(starts)) == list(range(1, LATENT - LENGTH + 1))
  for number, start in enumerate(starts):
    part = np.asarray(clips['tokens'][number, start : start + LENGTH])
    np.testing.assert_array_equal(found['tokens'][number], part)
    np.testing.assert_array_equal(found['reencoded'][number], part + 1)
  assert set(found['num_frames']) == {1 + (LENGTH - 1) * TUBELET}
  np.testing.assert_array_equal(found['text'], clips['text'])


def test_the_share_of_the_others_starts_a_clip():
  assert set(_cut(_clips(), share=0.0)[1]) == {0}
  mean = (_cut(_clips(), share=0.5)[1] > 0).mean()
  assert 0.3 < mean < 0.7


def test_shorter_clips_start_with_their_first_frame_and_keep_their_length():
  found, starts = _cut(_clips(num_latent=3))
  assert set(starts) == {0} and set(found['num_frames']) == {5}


def test_context_frames_before_the_window_are_gone():
  # Four latent frames of context, of which the first ones are cut off.
  found, starts = _cut(_clips(context=7))
  left = 4 - starts
  expected = np.where(left > 0, 1 + (left - 1) * TUBELET, 0)
  np.testing.assert_array_equal(found['context_frames'], expected)
  assert {0, 1, 3, 5} == set(found['context_frames'])


def test_the_generator_learns_rows_of_windows(tiny_sampler):
  models = tiny_sampler.models
  task = GeneratorTask(
    config=dataclasses.replace(models.generator, grid=(LENGTH, 2, 2)),
    text=models.text,
    tokenizer=models.tokenizer,
    tokenizer_params={},
    training=GeneratorTaskConfig(midway_frames=10, midway_share=1.0),
  )
  clips = _clips()
  clips['tokens'] = clips['tokens'] // 4 % LATENT
  make = jax.jit(lambda clips, key: task.rows({}, {'clips': clips}, key))
  rows = make(clips, jax.random.key(1))
  assert rows.ids.shape == (COUNT, LENGTH, 2, 2)
  # The latent frames follow each other, and are counted from the window's own.
  steps = np.diff(np.asarray(rows.ids[:, :, 0, 0]), axis=1)
  assert (steps == 1).all()
  np.testing.assert_array_equal(rows.frames_at[0], np.arange(LENGTH))


def test_settings_that_do_not_fit_are_refused():
  with pytest.raises(UserError, match='midway_share is 0; set both, or none'):
    GeneratorTaskConfig(midway_frames=8)
  training = GeneratorTaskConfig(
    midway_frames=8, midway_share=0.5, canvas_animation_share=0.1
  )
  config = GeneratorConfig(codebook_size=4, grid=(2, 2, 2))
  with pytest.raises(UserError, match='a canvas needs their pixels'):
    training.check(config, is_cached=False)
