"""Edits by models of clips with and without captions."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.runs.edit import Edit, edit
from phenaki_jax.runs.open import load
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
  with pytest.raises(UserError, match='has no effect on a clip; leave --pro'):
    edit(model, Edit(action=action, prompt='a circle', **given), film)
