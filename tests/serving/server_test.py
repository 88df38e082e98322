"""A server that is stopped ends gracefully, and listens where it may."""

import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import tomllib

import httpx
import pytest

from phenaki_jax.cli.main import make_parser
from phenaki_jax.errors import UserError
from phenaki_jax.runs.export import export_programs
from phenaki_jax.serving.server import serve

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_command_of_the_image_is_one_of_ours():
  text = (ROOT / 'launch' / 'Dockerfile').read_text()
  (words,) = re.findall(r'^ENTRYPOINT (\[.*\])$', text, re.MULTILINE)
  program, *argv = json.loads(words)
  args = make_parser(argv).parse_args(argv)
  assert (program, args.command, args.host) == ('phenaki', 'serve', '0.0.0.0')
  assert f'EXPOSE {args.port}\n' in text
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  (extra,) = re.findall(r'/source\[(\w+)\]', text)
  assert extra in project['optional-dependencies']


@pytest.mark.slow
@pytest.mark.unoptimized
def test_stopped_server_ends_streams_and_keeps_the_story(tiny_bundle, tmp_path):
  command = [sys.executable, '-m', 'phenaki_jax', 'serve', str(tiny_bundle)]
  command += ['--data', str(tmp_path / 'data'), '--port', '0', '--json-logs']
  command += ['--workers', '1', '--max-frames', '2500', '--deadline', '900']
  command += ['--drain', '20']
  with (
    open(tmp_path / 'log', 'w') as log,
    subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process,
  ):
    url = process.stdout.readline().split()[-1]
    with httpx.Client(base_url=url, timeout=60) as client:
      assert client.get('/v1/model').json()['limits']['frames'] == 2500
      story = {'scenes': [{'prompt': 'a red circle', 'frames': 60}] * 40}
      job, other = [
        client.post('/v1/stories', json=story).json() for _ in range(2)
      ]
      path = f'/v1/stories/{job["id"]}/events'
      with client.stream('GET', path) as response:
        lines = response.iter_lines()
        for line in lines:
          if line == 'event: frame':
            break
        # One worker makes one story at a time.
        waiting = client.get(f'/v1/stories/{other["id"]}').json()
        assert waiting['status'] == 'queued'
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # The last event is complete.
        assert list(lines)[-1] == ''
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert time.monotonic() - start < 30
  records = [
    json.loads(line)
    for line in (tmp_path / 'log').read_text().splitlines()
    if line.startswith('{')
  ]
  assert all({'time', 'level', 'message'} <= set(one) for one in records)
  assert any(one.get('story') == job['id'] for one in records)
  # The next server finds it waiting.
  from phenaki_jax.serving.jobs import Jobs

  jobs = Jobs(tmp_path / 'data' / 'jobs.sqlite')
  found = jobs.get(job['id'])
  jobs.close()
  assert found.status == 'queued' and found.frames > 0
  assert found.deadline - found.created == pytest.approx(900)


def test_server_stops_if_its_programs_cannot_be_compiled(tiny_model, tmp_path):
  settings = dataclasses.replace(tiny_model.defaults.settings, order='critic')
  defaults = dataclasses.replace(tiny_model.defaults, settings=settings)
  model = dataclasses.replace(tiny_model, defaults=defaults)
  with pytest.raises(UserError, match='critic'):
    serve(model, tmp_path / 'data', port=0)


def test_a_model_of_clips_without_captions_is_not_served(tiny_model, tmp_path):
  data = dataclasses.replace(tiny_model.data, clip_captions=False)
  model = dataclasses.replace(tiny_model, data=data)
  with pytest.raises(UserError, match='which the server does not have'):
    serve(model, tmp_path / 'data', port=0)
  with pytest.raises(UserError, match='no programs are written'):
    export_programs(model, tmp_path / 'programs', export_again='')


def test_address_that_others_reach_needs_a_token(tiny_model, tmp_path):
  for host in ('0.0.0.0', '::', 'stories.example'):
    with pytest.raises(UserError, match='--token-file'):
      serve(tiny_model, tmp_path / 'data', host=host)
  assert not (tmp_path / 'data').exists()
