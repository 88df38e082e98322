"""A data folder belongs to a model, and what is in it survives a start."""

import contextlib
import dataclasses

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.serving.limits import Limits
from phenaki_jax.serving.studio import Studio

STORY = {'scenes': [{'prompt': 'a red circle'}]}


@contextlib.contextmanager
def _open(model, folder, **limits):
  studio = Studio(model, folder, Limits(**limits))
  yield studio
  studio.jobs.close()


def _keep(studio, key, size=1):
  """Write a finished scene."""
  path = studio.folder / 'scenes' / f'{key}.npy'
  path.write_bytes(b'x' * size)
  path.with_suffix('.json').write_text('{}')
  return path


def test_start_deletes_no_scenes(tiny_model, tmp_path):
  with _open(tiny_model, tmp_path) as studio:
    # Such as one that another version of jax has made.
    scene = _keep(studio, 'a' * 32)
  with _open(tiny_model, tmp_path):
    assert scene.is_file()


def test_folder_of_another_model_is_refused(tiny_model, tmp_path):
  other = dataclasses.replace(tiny_model, fingerprint='0' * 64)
  with _open(other, tmp_path) as studio:
    scene = _keep(studio, 'a' * 32)
  with pytest.raises(UserError, match='0000, not of.*another --data'):
    Studio(tiny_model, tmp_path, Limits())
  assert scene.is_file()
  with _open(other, tmp_path):
    pass


def test_story_that_cannot_be_resolved_holds_up_no_other(tiny_model, tmp_path):
  from phenaki_jax.serving import video_api

  with _open(tiny_model, tmp_path) as studio:
    bad = studio.jobs.add({'scenes': []}, seconds=60, most=9)
    good = studio.submit(studio.check(STORY))
  with _open(tiny_model, tmp_path) as studio:
    assert studio.describe(bad)['scenes'] == []
    assert video_api._describe(studio, bad)['prompt'] == ''
    studio.remove(bad.id)
    assert len(studio.describe(good)['scenes']) == 1


def test_two_attempts_at_a_job_may_overlap(tiny_model, tmp_path):
  with _open(tiny_model, tmp_path) as studio:
    job = studio.submit(studio.check(STORY))
    old = studio.jobs.take()
    studio.jobs.cancel(job.id)
    studio.roll(old, 1)
    new = studio.jobs.take()
    with contextlib.ExitStack() as first, studio.making(new):
      first.enter_context(studio.making(old))
      first.close()
      (key,) = studio.keys(new)
      scene = _keep(studio, key)
      studio.remove(job.id)
      assert scene.is_file()
