"""What a clip reads of earlier scenes, to the last bit."""

import dataclasses

import numpy as np

from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.history import History

SIZE = (16, 16)
SLOTS = 3  # of `history_sampler`
BITS = np.random.default_rng(0)
FRAMES = BITS.integers(0, 256, (2, SLOTS, *SIZE, 3)).astype(np.uint8)
FAST = SamplingSettings(steps=1, guidance=0.0)
# The first clip shows the first scene of its story, the second one the third.
CAPTIONS = ((), ('a red circle', 'it turns green'))


def _confidence(sampler, frames=FRAMES, captions=CAPTIONS, settings=FAST):
  """Return the log-probability of each token of each clip, when drawn."""
  history = History(frames=frames, captions=captions) if captions else None
  given = sampler.given(None, size=SIZE, batch=2, history=history)
  state = sampler.uncover(
    ['a blue square'] * 2,
    ids=given.ids,
    known=given.known,
    seeds=(1, 2),
    settings=settings,
    conditions=given.conditions,
  )
  return np.asarray(state.confidence)


def test_a_scene_reads_frames_and_captions_of_earlier_scenes_alone(
  history_sampler,
):
  assert history_sampler.history_slots == SLOTS
  first = _confidence(history_sampler)
  for slot in range(SLOTS):
    frames = FRAMES.copy()
    frames[:, slot] = 255 - frames[:, slot]
    changed = (_confidence(history_sampler, frames) != first).any(1)
    np.testing.assert_array_equal(changed, [False, slot < 2])
  other = (), ('a blue square', 'it turns green')
  changed = (_confidence(history_sampler, captions=other) != first).any(1)
  np.testing.assert_array_equal(changed, [False, True])


def test_an_absent_history_has_no_effect(history_sampler):
  empty = _confidence(history_sampler, captions=((), ()))
  np.testing.assert_array_equal(
    empty, _confidence(history_sampler, captions=None)
  )
  assert (empty[1] != _confidence(history_sampler)[1]).any()


def test_guidance_moves_towards_the_history(history_sampler):
  plain = _confidence(history_sampler)
  # Away from its own prompt, only the history is left to guide.
  guided = dataclasses.replace(FAST, guidance=5.0, negative='a blue square')
  moved = np.abs(_confidence(history_sampler, settings=guided) - plain).max(1)
  assert moved[0] < 1e-3 and moved[1] > 0.1


def test_clips_are_made_with_their_history(history_sampler):
  made = [
    history_sampler.scored_clips(
      ['a blue square'] * 2,
      size=SIZE,
      seeds=(1, 2),
      settings=FAST,
      history=History(frames=frames, captions=CAPTIONS),
    )
    for frames in (FRAMES, 255 - FRAMES)
  ]
  changed = made[0].likelihood != made[1].likelihood
  np.testing.assert_array_equal(changed, [False, True])
