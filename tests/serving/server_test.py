"""A server that is killed goes on; one that is stopped ends gracefully."""

import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.runs.open import load
from phenaki_jax.serving.server import serve
from phenaki_jax.stories.generate import generate
from phenaki_jax.stories.story import build, resolve

STORIES = [
  {
    'seed': seed,
    'scenes': [{'prompt': 'a red circle', 'frames': 40}] * 4
    + [{'prompt': 'a blue square', 'cut': True}],
  }
  for seed in range(3)
]


class _Process:
  """`phenaki serve` in a process of its own."""

  def __init__(self, bundle, folder, *options):
    command = [sys.executable, '-m', 'phenaki_jax', 'serve', str(bundle)]
    command += ['--data', str(folder), '--port', '0', '--json-logs', *options]
    self.process = subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = self.process.stdout.readline()
    found = re.search(r'http://[\d.]+:\d+', line)
    assert found, (line, self.process.communicate())
    self.client = httpx.Client(base_url=found[0], timeout=60)

  def end(self, number):
    """Send a signal, and return the exit code and the log."""
    self.client.close()
    self.process.send_signal(number)
    _, log = self.process.communicate(timeout=60)
    return self.process.returncode, log


def _scenes(folder):
  """Return when each scene was finished, by its key."""
  marks = pathlib.Path(folder, 'scenes').glob('*.json')
  return {mark.name: mark.stat().st_mtime_ns for mark in marks}


def _digest(model, story):
  import hashlib

  from phenaki_jax.media.label import label

  digest = hashlib.sha256()
  for chunk in generate(model.sampler, resolve(build(story), model.defaults)):
    for frame in chunk.frames:
      digest.update(label(frame).tobytes())
  return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize('kills', [4])
def test_killed_server_goes_on_and_makes_nothing_twice(
  tiny_bundle, tmp_path, kills
):
  moments = random.Random(0)
  ids, finished = [], {}
  for attempt in range(kills + 1):
    server = _Process(tiny_bundle, tmp_path)
    if not ids:
      ids = [
        server.client.post('/v1/stories', json=story).json()['id']
        for story in STORIES
      ]
    if attempt == kills:
      break
    time.sleep(moments.uniform(0, 2.5))
    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    now = _scenes(tmp_path)
    # What was finished is there, and was not made again.
    assert {name: now.get(name) for name in finished} == finished
    finished = now
  model = load(tiny_bundle)
  for identifier, story in zip(ids, STORIES, strict=True):
    while True:
      job = server.client.get(f'/v1/stories/{identifier}').json()
      if job['is_final']:
        break
      time.sleep(0.05)
    assert job['status'] == 'done', job
    record = server.client.get(job['files']['json']).json()
    assert record['frames_sha256'] == _digest(model, story)
  now = _scenes(tmp_path)
  assert {name: now.get(name) for name in finished} == finished
  listed = server.client.get('/v1/stories').json()['stories']
  assert sorted(one['id'] for one in listed) == sorted(ids)
  server.end(signal.SIGTERM)


@pytest.mark.slow
def test_stopped_server_ends_streams_and_keeps_the_story(tiny_bundle, tmp_path):
  server = _Process(tiny_bundle, tmp_path, '--max-frames', '2000')
  story = {'scenes': [{'prompt': 'a red circle', 'frames': 50}] * 40}
  job = server.client.post('/v1/stories', json=story).json()
  path = f'/v1/stories/{job["id"]}/events'
  with server.client.stream('GET', path) as response:
    lines = response.iter_lines()
    for line in lines:
      if line == 'event: frame':
        break
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert list(lines)[-1] == ''  # The last event is complete.
  code, log = server.end(signal.SIGTERM)
  assert code == 128 + signal.SIGTERM
  assert time.monotonic() - start < 20
  for line in log.splitlines():
    if line.startswith('{'):
      assert {'time', 'level', 'message'} <= set(json.loads(line))
  again = _Process(tiny_bundle, tmp_path, '--max-frames', '2000')
  found = again.client.get(f'/v1/stories/{job["id"]}').json()
  assert found['status'] in ('queued', 'running')
  again.end(signal.SIGKILL)


def test_address_that_others_reach_needs_a_token(tiny_model, tmp_path):
  for host in ('0.0.0.0', '::', 'stories.example'):
    with pytest.raises(UserError, match='--token-file'):
      serve(tiny_model, tmp_path / 'data', host=host)
  assert not (tmp_path / 'data').exists()
