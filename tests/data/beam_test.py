"""Ingestion on Apache Beam writes the files that one machine writes."""

import os
import pathlib
import subprocess
import sys

import pytest

from phenaki_jax.data import beam, build, ingest
from phenaki_jax.data.sources import img2dataset, webvid
from phenaki_jax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_beam_is_named_where_it_is_missing():
  with pytest.raises(UserError, match='apache-beam is not installed; docs/'):
    beam.runner('DirectRunner')


@pytest.fixture
def source(media, good_clips, good_images, tmp_path):
  clips = [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  images = [(data, f'image {i}', {}) for i, data in enumerate(good_images)]
  media.webvid(tmp_path / 'w', clips)
  media.shard(tmp_path / 'i', images)
  openers = [
    lambda _: webvid.WebVid(tmp_path / 'w'),
    lambda _: img2dataset.Img2Dataset(tmp_path / 'i'),
  ]
  build.build(openers, tmp_path / 'm')
  return tmp_path / 'm'


def contents(folder):
  return {
    path.name: path.read_bytes()
    for path in folder.iterdir()
    if not path.name.startswith('.')
  }


def test_parts_may_be_written_in_any_order_by_anything(source, tmp_path):
  config = ingest.IngestConfig(size=(16, 16), rows_per_file=6)
  ingest.ingest(source, tmp_path / 'one', config)

  def run(tasks):
    for task in reversed(tasks):
      ingest.write_part(*task)

  ingest.ingest(source, tmp_path / 'other', config, run=run)
  assert contents(tmp_path / 'one') == contents(tmp_path / 'other')


@pytest.mark.slow
def test_the_runner_of_beam_writes_the_same_set(source, tmp_path):
  """Make the environment that the documentation describes, and use it."""
  config = ingest.IngestConfig(size=(16, 16), rows_per_file=6)
  ingest.ingest(source, tmp_path / 'one', config)
  python = tmp_path / 'venv' / 'bin' / 'python'
  # Local files need no clients of buckets, which are most of the packages.
  requirements = tmp_path / 'requirements.txt'
  lines = (ROOT / 'launch' / 'beam-requirements.txt').read_text().splitlines()
  requirements.write_text(
    '\n'.join(
      line.replace('[gcp]', '')
      for line in lines
      if not line.startswith(('gcsfs', 's3fs'))
    )
  )
  for command in (
    [sys.executable, '-m', 'venv', tmp_path / 'venv'],
    [python, '-m', 'pip', 'install', '-q', '-r', requirements],
    [
      *(python, '-m', 'phenaki_jax', 'data', 'ingest', source),
      *('--out', tmp_path / 'other', '--size', '16', '--rows-per-file', '6'),
      *('--runner', 'DirectRunner'),
      '--runner-flags=--direct_num_workers=2',
    ],
  ):
    done = subprocess.run(
      list(map(str, command)),
      capture_output=True,
      text=True,
      env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
  assert contents(tmp_path / 'one') == contents(tmp_path / 'other')
