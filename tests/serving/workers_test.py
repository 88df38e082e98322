"""A worker makes a job alone, and survives what fails around it."""

import json
import time

import numpy as np
import pytest

from phenaki_jax.media.gif import encode_gif
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.serving.batcher import Batcher
from phenaki_jax.serving.limits import Limits
from phenaki_jax.serving.metrics import Metrics
from phenaki_jax.serving.studio import FILES, Studio
from phenaki_jax.serving.workers import Workers
from phenaki_jax.stories.generate import generate

STORY = {'scenes': [{'prompt': 'a red circle'}, {'prompt': 'it turns green'}]}


@pytest.fixture
def studio(tiny_model, tmp_path):
  studio = Studio(tiny_model, tmp_path, Limits())
  yield studio
  studio.jobs.close()


class Maker(Batcher):
  """Something happens before each clip."""

  def __init__(self, sampler, happens):
    super().__init__(sampler, sizes=(1,))
    self.happens, self.count = happens, 0

  def clips(self, prompts, **options):
    self.count += 1
    self.happens()
    return super().clips(prompts, **options)


def test_worker_outlives_a_full_disk_and_names_no_paths(studio, tmp_path):
  studio.submit(studio.check(STORY))
  # No folder for films can be made.
  (tmp_path / 'films').write_bytes(b'')
  # The database refuses the first attempts, as on a full disk.
  with studio.jobs._change() as database:
    database.execute('pragma query_only = on')
  maker = Batcher(studio.model.sampler)
  workers = Workers(studio, maker, Metrics(), count=1)
  workers.start()
  time.sleep(0.2)
  with studio.jobs._change() as database:
    database.execute('pragma query_only = off')
  while not (job := studio.jobs.newest()[0]).error:
    time.sleep(0.01)
  workers.stop()
  maker.close()
  assert (job.status, job.error) == ('failed', 'internal error')


def test_job_that_another_worker_has_taken_is_left_to_it(studio):
  def take_again():
    if maker.count == 1:
      studio.jobs.cancel(job.id)
      studio.roll(studio.jobs.get(job.id), 2)
      studio.jobs.take()

  job = studio.submit(studio.check(STORY))
  maker = Maker(studio.model.sampler, take_again)
  Workers(studio, maker, Metrics(), count=1)._make(studio.jobs.take())
  maker.close()
  now = studio.jobs.get(job.id)
  assert maker.count == 1
  assert (now.status, now.attempt) == ('running', 2)


def test_long_film_has_a_report_on_its_drift(studio):
  story = {'scenes': [{'prompt': 'a red circle', 'frames': 64}]}
  job = studio.submit(studio.check(story))
  maker = Batcher(studio.model.sampler, sizes=(1,))
  Workers(studio, maker, Metrics(), count=1)._make(studio.jobs.take())
  maker.close()
  record = json.loads(studio.film(job, 'json').read_text())
  assert record['drift']['frames'] == 64
  picture = read_provenance(studio.film(job, 'drift.png'))
  assert picture['story'] == record['story']
  files = studio.describe(studio.jobs.get(job.id))['files']
  assert tuple(files) == FILES


@pytest.mark.parametrize('labelled', [True, False])
def test_films_have_the_label_once_if_it_is_on(tiny_model, tmp_path, labelled):
  studio = Studio(tiny_model, tmp_path, Limits(), labelled=labelled)
  job = studio.submit(studio.check({'scenes': [{'prompt': 'a red circle'}]}))
  maker = Batcher(tiny_model.sampler, sizes=(1,))
  Workers(studio, maker, Metrics(), count=1)._make(studio.jobs.take())
  maker.close()
  studio.jobs.close()
  gif = studio.film(job).with_suffix('.gif')
  story = studio.story(job)
  chunks = generate(tiny_model.sampler, story)
  frames = np.concatenate([chunk.frames for chunk in chunks])
  assert gif.read_bytes() == encode_gif(
    frames,
    fps=story.fps,
    provenance=read_provenance(gif),
    min_height=256,
    labelled=labelled,
  )
