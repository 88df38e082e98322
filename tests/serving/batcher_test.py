"""A clip is the same alone and in a batch; requests are never lost."""

import concurrent.futures
import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.conditions import Given
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.history import History
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.serving.batcher import Batcher, WarmUp
from phenaki_jax.serving.limits import BusyError

SETTINGS = dataclasses.replace(SamplingSettings(), steps=2)
PROMPTS = ['a red circle', 'a blue square', 'it turns green']


def _clip(batcher, number, context=None):
  return batcher.clips(
    [PROMPTS[number % 3]],
    size=(16, 16),
    seeds=[number],
    settings=SETTINGS,
    context=context,
  )[0]


@pytest.mark.slow
@pytest.mark.unoptimized
def test_seed_gives_the_same_clip_alone_and_in_a_batch(tiny_sampler):
  batches = []
  batcher = Batcher(
    tiny_sampler,
    sizes=(4,),
    wait=0.2,
    observe=lambda requests, size, seconds: batches.append((requests, size)),
  )
  context = np.random.default_rng(0).integers(0, 256, (1, 5, 16, 16, 3))
  context = context.astype(np.uint8)
  contexts = [None, None, context, None, context]
  with concurrent.futures.ThreadPoolExecutor(5) as pool:
    found = list(pool.map(lambda i: _clip(batcher, i, contexts[i]), range(5)))
  batcher.close()
  # Clips with a context are a group of their own.
  assert sorted(batches) == [(2, 4), (3, 4)]
  for number, clip in enumerate(found):
    expected = tiny_sampler.clips(
      [PROMPTS[number % 3]],
      size=(16, 16),
      seeds=[number],
      settings=SETTINGS,
      context=contexts[number],
    )[0]
    np.testing.assert_array_equal(clip, expected)


def test_context_is_on_the_canvas_as_without_a_batch(ported_sampler):
  context = np.random.default_rng(0).integers(0, 256, (2, 5, 16, 16, 3))
  given = {
    'size': (16, 16),
    'seeds': [0, 1],
    'settings': dataclasses.replace(
      SETTINGS, guidance=0.0, temperature=0.0, choice_temperature=0.0
    ),
    'context': context.astype(np.uint8),
  }
  batcher = Batcher(ported_sampler, sizes=(2,), wait=5.0)
  found = batcher.clips(PROMPTS[:2], **given)
  batcher.close()
  np.testing.assert_array_equal(
    found, ported_sampler.clips(PROMPTS[:2], **given)
  )


def test_each_clip_of_a_batch_sees_its_own_history(tiny_sampler):
  class Remembering(Sampler):
    """Makes a clip of the first value of the history of each row."""

    history_slots = 2

    def given(self, context, *, size, batch, history):
      assert batch == len(history.captions) == 1
      value = int(history.frames[0, 0, 0, 0, 0])
      ids = np.full((1, 1, 1, 1), value, np.int32)
      return Given(ids=ids, known=np.ones(ids.shape, bool))

    def uncover(self, prompts, *, ids, **options):
      return SimpleNamespace(ids=ids)

    def decode(self, ids):
      return np.broadcast_to(ids[..., None], (1, 1, 1, 1, 3))

  frames = np.array([7, 9], np.uint8).reshape(2, 1, 1, 1, 1)
  history = History(
    frames=np.broadcast_to(frames, (2, 2, 1, 1, 3)), captions=(('a',), ('b',))
  )
  sampler = Remembering(**vars(tiny_sampler))
  batcher = Batcher(sampler, sizes=(2,), wait=5.0)
  assert batcher.history_slots == 2
  found = batcher.clips(
    PROMPTS[:2], size=(1, 1), seeds=[0, 1], settings=SETTINGS, history=history
  )
  batcher.close()
  assert found[:, 0, 0, 0, 0].tolist() == [7, 9]


def test_clips_of_a_batch_have_one_frame_rate(tiny_sampler):
  class Timed(Sampler):
    """Makes a clip of the frame rate."""

    reads_fps = True

    def given(self, context, *, size, batch, history):
      ids = np.zeros((batch, 1, 1, 1), np.int32)
      return Given(ids=ids, known=np.ones(ids.shape, bool))

    def uncover(self, prompts, *, ids, fps, **options):
      return SimpleNamespace(ids=np.full(ids.shape, fps))

    def decode(self, ids):
      return np.broadcast_to(ids[..., None], (1, 1, 1, 1, 3))

  batcher = Batcher(Timed(**vars(tiny_sampler)), sizes=(2,), wait=0.05)
  assert batcher.reads_fps
  shared = {'size': (1, 1), 'seeds': [0], 'settings': SETTINGS}
  waiting = [
    *batcher.submit(PROMPTS[:1], fps=4, **shared),
    *batcher.submit(PROMPTS[:1], fps=8, **shared),
  ]
  assert [int(one.result().max()) for one in waiting] == [4, 8]
  batcher.close()


def test_error_of_a_batch_reaches_its_requests_and_the_next_is_made(
  tiny_sampler,
):
  batcher = Batcher(tiny_sampler, sizes=(1,))
  with pytest.raises(UserError, match='critic'):
    batcher.clips(
      ['a'],
      size=(16, 16),
      seeds=[0],
      settings=dataclasses.replace(SETTINGS, order='critic'),
    )
  assert _clip(batcher, 0).shape == (9, 16, 16, 3)
  batcher.close()


def test_full_queue_refuses_all_clips_of_a_request(tiny_sampler):
  batcher = Batcher(tiny_sampler, sizes=(1,), waiting=2)
  with pytest.raises(BusyError):
    batcher.clips(
      ['a'] * 50, size=(16, 16), seeds=list(range(50)), settings=SETTINGS
    )
  while True:
    try:
      assert _clip(batcher, 1).any()
      break
    except BusyError:
      pass
  batcher.close()


def test_clip_after_the_end_is_refused(tiny_sampler):
  batcher = Batcher(tiny_sampler, sizes=(1,))
  batcher.close()
  with pytest.raises(BusyError, match='server stops'):
    _clip(batcher, 0)


def test_warm_up_that_fails_ends_the_thread_and_answers_all(tiny_sampler):
  errors = []
  wrong = WarmUp(
    size=(16, 16),
    settings=dataclasses.replace(SETTINGS, order='critic'),
    context_frames=5,
  )
  batcher = Batcher(
    tiny_sampler, sizes=(1,), warm_up=wrong, failed=errors.append
  )
  with pytest.raises(BusyError, match='server stops'):
    _clip(batcher, 0)
  batcher.close()
  assert not batcher.ready.is_set()
  assert 'critic' in str(errors[0])


def test_closing_ends_the_wait_for_others(tiny_sampler):
  batcher = Batcher(tiny_sampler, sizes=(2,), waiting=1, wait=60.0)
  start = time.monotonic()
  settings = dataclasses.replace(SETTINGS, order='critic')
  (result,) = batcher.submit(['a'], size=(16, 16), seeds=[0], settings=settings)
  batcher.close()
  # Its batch was begun, and failed by itself.
  with pytest.raises(UserError, match='critic'):
    result.result()
  assert time.monotonic() - start < 30


def test_sizes_are_checked(tiny_sampler):
  with pytest.raises(UserError, match='batch sizes'):
    Batcher(tiny_sampler, sizes=(0,))
