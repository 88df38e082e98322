"""Edits tell a model the text and the frame rate that it reads."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.runs.edit import Edit, edit
from phenaki_jax.runs.open import load
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.sampling.still_first import StillFirst


def _uncaptioned(model):
  """Return a model as if its clips had had no captions."""
  return dataclasses.replace(
    model,
    sampler=StillFirst(sampler=model.sampler),
    data=dataclasses.replace(model.data, clip_captions=False),
  )


@pytest.fixture
def given(tmp_path):
  """Write a clip of two frames."""
  clip = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  np.save(tmp_path / 'a.npy', clip)
  return {'inputs': (str(tmp_path / 'a.npy'),), 'frames': 2, 'times': 3}


@pytest.mark.parametrize('action', ['continue', 'interpolate', 'fps'])
def test_clips_without_captions_need_no_text(
  tiny_bundle, given, tmp_path, action
):
  model, film = load(tiny_bundle), tmp_path / 'film.mp4'
  with pytest.raises(UserError, match=f'{action} needs --prompt'):
    edit(model, Edit(action=action, **given), film)
  model = _uncaptioned(model)
  _, frames = edit(model, Edit(action=action, **given), film)
  assert len(np.load(frames)) > 2
  with pytest.raises(UserError, match="--prompt is 'a circle', but .* no text"):
    edit(model, Edit(action=action, prompt='a circle', **given), film)


@pytest.mark.parametrize(('times', 'told'), [(2, 4), (4, 8), (5, None)])
def test_the_frame_rate_of_the_result_is_told(
  ported_bundle, tmp_path, times, told
):
  class Seeing(Sampler):
    def uncover(self, prompts, *, ids, fps, **options):
      found = self.told(None, ids, fps)
      raise InterruptedError(found and found.scalars['fps'].tolist())

  clip = np.zeros((3, 16, 16, 3), np.uint8)
  notice = {'notice': 'rendered'}
  write_mp4(tmp_path / 'a.mp4', clip, fps=2, provenance=notice, min_height=1)
  model = load(ported_bundle)
  assert model.defaults.fps == 8
  sampler = Seeing(**vars(model.sampler))
  request = Edit(
    action='fps', inputs=(str(tmp_path / 'a.mp4'),), times=times, prompt='a'
  )
  with pytest.raises(InterruptedError) as raised:
    edit(
      dataclasses.replace(model, sampler=sampler), request, tmp_path / 'b.mp4'
    )
  assert raised.value.args == (told and [told],)


def test_what_is_edited_is_not_replaced(tiny_bundle, given, tmp_path):
  model = load(tiny_bundle)
  before = (tmp_path / 'a.npy').read_bytes()
  request = Edit(action='continue', prompt='a', **given)
  with pytest.raises(UserError, match=r'would replace .*a\.npy, which is read'):
    edit(model, request, tmp_path / 'a.mp4')
  with pytest.raises(UserError, match='--out is gs://b/x.mp4, but must be on'):
    edit(model, request, 'gs://b/x.mp4')
  assert (tmp_path / 'a.npy').read_bytes() == before
  assert list(tmp_path.iterdir()) == [tmp_path / 'a.npy']
