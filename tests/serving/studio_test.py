"""A data folder belongs to a model, and what is in it survives a start."""

import contextlib
import dataclasses
import os

import pytest

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.runs import worlds
from phenaki_jax.serving.limits import Limits
from phenaki_jax.serving.studio import Studio
from phenaki_jax.text.words import Words

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


def test_example_is_of_the_world_of_the_model(tiny_model, tmp_path):
  words = Words.count(['a dog runs on grass'])
  for options, example in (
    ({}, worlds.EXAMPLES['storyworld']),
    ({'words': words}, None),
    ({'words': words, 'subset': ''}, None),
  ):
    model = dataclasses.replace(tiny_model, **options)
    with _open(model, tmp_path) as studio:
      assert studio.example() == example
  with _open(tiny_model, tmp_path, scenes=2) as studio:
    assert studio.example() is None


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


def test_oldest_scenes_beyond_the_limit_are_deleted(tiny_model, tmp_path):
  with _open(tiny_model, tmp_path, scene_bytes=250) as studio:
    paths = [_keep(studio, c * 32, 100) for c in 'fab']
    for age, path in enumerate(paths):
      os.utime(path.with_suffix('.json'), (age, age))
    studio.submit(studio.check(STORY))
    with studio.making(studio.jobs.take()):
      assert all(path.is_file() for path in paths)
    assert [path.is_file() for path in paths] == [False, True, True]
    assert not paths[0].with_suffix('.json').exists()


def test_oldest_stories_are_removed_and_parts_of_films_swept(
  tiny_model, tmp_path
):
  with _open(tiny_model, tmp_path, stories=1) as studio:
    first, *_ = [studio.submit(studio.check(STORY)) for _ in range(2)]
    part = tmp_path / 'films' / first.id / '.story-0.mp4.part-0123'
    part.mkdir(parents=True)
    for _ in range(2):
      studio.jobs.end(studio.jobs.take(), 'failed')
  with _open(tiny_model, tmp_path, stories=1) as studio:
    assert not part.exists() and part.parent.exists()
    studio.submit(studio.check(STORY))
    assert not part.parent.exists()
    with pytest.raises(NotFoundError):
      studio.jobs.get(first.id)


def test_combinations_that_are_compiled_are_bounded(tiny_model, tmp_path):
  with _open(tiny_model, tmp_path, programs=1) as studio:
    asked = {'scenes': [{'prompt': 'a', 'steps': 3}]}
    studio.submit(studio.check(asked))
    studio.submit(studio.check(STORY))
    with pytest.raises(UserError, match='at most 1 combinations'):
      studio.check({'scenes': [{'prompt': 'a', 'steps': 5}]})
