"""Measure `phenaki serve`: load, memory, kills, and the speed of frames.

    python benchmarks/serving.py load            # 1,000 stories of 50 clients
    python benchmarks/serving.py kills           # 20 kills at random instants
    python benchmarks/serving.py live            # frames against playing time
    python benchmarks/serving.py pictures        # screenshots, into docs/

All of them start a server in a process of its own, with the reference model
unless --model names a bundle, and print one JSON object.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

PROMPTS = (
  'a red circle moving right on grass',
  'a blue square standing still on sand',
  'a yellow triangle moving up at night',
)


class Server:
  """`phenaki serve` in a process of its own.

  Attributes:
    process: the process.
    client: an HTTP client of it.
  """

  def __init__(
    self, folder: pathlib.Path, *options: str, model: str | None = None
  ):
    """Start it, and wait until it listens."""
    command = [sys.executable, '-m', 'phenaki_jax', 'serve']
    command += [model] if model else []
    command += ['--data', str(folder), '--port', '0', '--json-logs', *options]
    self._log = open(folder.with_suffix('.log'), 'ab')
    self.process = subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=self._log, text=True
    )
    assert self.process.stdout is not None
    line = self.process.stdout.readline()
    found = re.search(r'http://[\d.]+:\d+', line)
    assert found, folder.with_suffix('.log').read_text()
    self.client = httpx.Client(
      base_url=found[0],
      timeout=120,
      limits=httpx.Limits(max_connections=200),
    )

  def end(self, number: int) -> int:
    """Send a signal and return the exit code."""
    self.client.close()
    self.process.send_signal(number)
    code = self.process.wait(timeout=120)
    assert self.process.stdout is not None
    self.process.stdout.close()
    self._log.close()
    return code

  def wait_ready(self) -> None:
    """Wait until the programs are compiled."""
    while self.client.get('/v2/health/ready').status_code != 200:
      time.sleep(0.1)

  def wait_for(self, identifier: str, *, every: float = 0.2) -> dict[str, Any]:
    """Ask again and again until a story has ended."""
    while True:
      job = self.client.get(f'/v1/stories/{identifier}').json()
      if job['is_final']:
        return job
      time.sleep(every)

  def cpu_seconds(self) -> float:
    """Return the time that the server has spent on all cores."""
    text = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text()
    user, system = text.rpartition(')')[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

  def resident(self) -> float:
    """Return the resident memory in megabytes."""
    text = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
    found = re.search(r'VmRSS:\s+(\d+) kB', text)
    assert found
    return int(found[1]) / 1000


def finished_scenes(folder: pathlib.Path) -> dict[str, int]:
  """Return when each scene was finished, by the name of its mark."""
  marks = (folder / 'scenes').glob('*.json')
  return {mark.name: mark.stat().st_mtime_ns for mark in marks}


def kill_often(
  folder: pathlib.Path,
  stories: Sequence[dict[str, Any]],
  *,
  kills: int,
  seconds: float,
  model: str | None = None,
) -> dict[str, Any]:
  """Kill a server at random instants until it has made all stories.

  Args:
    folder: of the server.
    stories: to make.
    kills: how often; the server then runs until all stories are made.
    seconds: longest time from the start of the server to its death.
    model: a bundle.

  Returns:
    `lost` stories, scenes made `twice`, and `frames`: the digest of the frames
    of each story, in order.
  """
  moments = random.Random(0)
  ids: list[str] = []
  finished: dict[str, int] = {}
  twice = 0
  for attempt in range(kills + 1):
    server = Server(folder, '--no-label', model=model)
    if not ids:
      ids = [
        server.client.post('/v1/stories', json=story).json()['id']
        for story in stories
      ]
    if attempt == kills:
      break
    time.sleep(moments.uniform(0, seconds))
    server.end(signal.SIGKILL)
    now = finished_scenes(folder)
    twice += sum(now.get(name) != when for name, when in finished.items())
    finished = now
  jobs = [server.wait_for(one) for one in ids]
  now = finished_scenes(folder)
  twice += sum(now.get(name) != when for name, when in finished.items())
  frames = [
    server.client.get(job['files']['json']).json()['frames_sha256']
    for job in jobs
    if job['status'] == 'done'
  ]
  server.end(signal.SIGTERM)
  return {
    'kills': kills,
    'stories': len(stories),
    'scenes_before_the_last_start': len(finished),
    'lost': len(stories) - len(frames),
    'twice': twice,
    'frames': frames,
  }


def load_test(
  folder: pathlib.Path,
  *,
  requests: int,
  clients: int,
  model: str | None = None,
  options: Sequence[str] = (),
) -> dict[str, Any]:
  """Let clients submit stories, retry when refused, and fetch the films.

  Args:
    folder: of the server.
    requests: stories in all, half of which were asked for before.
    clients: at the same time.
    model: a bundle.
    options: of `phenaki serve`.

  Returns:
    Counts, the seconds of a refusal, and the memory of the server in
    megabytes after a quarter of the stories and at the end.
  """
  server = Server(folder, *options, model=model)
  server.wait_ready()
  memory: list[float] = []
  refusals: list[float] = []
  lock = threading.Lock()

  def one(number: int) -> bool:
    story = {
      'seed': number // 2,
      'scenes': [{'prompt': PROMPTS[number % 6 // 2], 'steps': 4}],
    }
    while True:
      begin = time.monotonic()
      answer = server.client.post('/v1/stories', json=story)
      if answer.status_code == 202:
        break
      assert answer.status_code == 429, answer.text
      with lock:
        refusals.append(time.monotonic() - begin)
      time.sleep(0.2)
    job = server.wait_for(answer.json()['id'], every=0.5)
    film = server.client.get(f'/v1/stories/{job["id"]}/film.mp4')
    with lock:
      memory.append(server.resident())
    return film.status_code == 200 and film.content[4:8] == b'ftyp'

  begin = time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    made = sum(pool.map(one, range(requests)))
  seconds = time.monotonic() - begin
  counts = server.client.get('/metrics').text
  server.end(signal.SIGTERM)
  quarter = memory[: max(1, len(memory) // 4)]
  return {
    'requests': requests,
    'clients': clients,
    'lost': requests - made,
    'seconds': round(seconds, 1),
    'refused_and_sent_again': len(refusals),
    'refusal_median_seconds': round(statistics.median(refusals or [0]), 4),
    'memory_after_a_quarter_mb': round(max(quarter), 1),
    'memory_at_the_end_mb': round(memory[-1], 1),
    'stories_done': int(
      float(re.findall(r'phenaki_stories\{status="done"\} (\S+)', counts)[0])
    ),
  }


def live(
  folder: pathlib.Path, *, scenes: int, model: str | None = None
) -> dict[str, Any]:
  """Append scenes to a story while following it; compare with its fps.

  Returns:
    Frames a second as a client receives them, from the first frame on; how
    long a viewer who starts with the first frame would wait in all; and the
    time of all cores that the server spends on a frame, which other work on
    the machine changes little.
  """
  server = Server(folder, model=model)
  server.wait_ready()
  story = {'seed': 4, 'scenes': [{'prompt': PROMPTS[0]}]}
  before = server.cpu_seconds()
  job = server.client.post('/v1/stories', json=story).json()
  arrivals: list[float] = []
  path, appended = f'/v1/stories/{job["id"]}', 1
  seen = -1
  with server.client.stream('GET', f'{path}/events') as response:
    for line in response.iter_lines():
      if not line.startswith('data: {"scene"'):
        continue
      arrivals.append(time.monotonic())
      scene = json.loads(line[6:])['scene']
      if scene > seen and appended < scenes:
        seen, appended = scene, appended + 1
        more = {'scenes': [{'prompt': 'it turns blue and keeps moving right'}]}
        server.client.post(f'{path}/scenes', json=more).raise_for_status()
  fps, spent = job['fps'], server.cpu_seconds() - before
  server.end(signal.SIGTERM)
  shown = arrivals[0]
  waited = 0.0
  for when in arrivals[1:]:
    shown += 1 / fps
    waited += max(0.0, when - shown)
    shown = max(shown, when)
  return {
    'frames': len(arrivals),
    'fps': fps,
    'frames_a_second': round(
      (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]), 1
    ),
    'viewer_waits_seconds': round(waited, 2),
    'cpu_seconds_a_frame': round(spent / len(arrivals), 4),
  }


def pictures(
  folder: pathlib.Path, out: pathlib.Path, *, model: str | None = None
) -> dict[str, Any]:
  """Write a story in a browser, and take screenshots of the page."""
  import shutil

  from playwright import sync_api

  browser = shutil.which('chromium') or shutil.which('google-chrome')
  assert browser, 'there is no chromium on the path'
  server = Server(folder, model=model)
  server.wait_ready()
  paths = [out / f'page_{name}.png' for name in ('empty', 'story', 'phone')]
  with sync_api.sync_playwright() as playwright:
    chromium = playwright.chromium.launch(
      executable_path=browser, args=['--no-sandbox']
    )
    page = chromium.new_page(viewport={'width': 1180, 'height': 640})
    page.goto(str(server.client.base_url))
    page.get_by_text('Words that this model knows').wait_for()
    page.screenshot(path=paths[0])
    page.get_by_role('button', name='Start with an example').click()
    page.get_by_role('button', name='Make the film').click()
    page.get_by_text('the film is done').wait_for(timeout=120_000)
    second = page.get_by_label('Scene 2: what happens')
    second.fill('it turns blu and keeps moving right')
    page.get_by_text('The model never saw').wait_for()
    page.get_by_role('button', name='Pause').click()
    page.get_by_role('button', name='go to scene 2').click()
    page.set_viewport_size({'width': 1180, 'height': 960})
    page.evaluate('() => window.scrollTo(0, 0)')
    page.screenshot(path=paths[1])
    page.set_viewport_size({'width': 390, 'height': 844})
    page.evaluate('() => window.scrollTo(0, 0)')
    page.screenshot(path=paths[2])
    chromium.close()
  server.end(signal.SIGTERM)
  return {path.name: path.stat().st_size for path in paths}


def main(argv: Sequence[str] | None = None) -> None:
  """Run one measurement and print it."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    'what',
    nargs='?',
    default='load',
    choices=('load', 'kills', 'live', 'pictures'),
  )
  parser.add_argument('--model', metavar='BUNDLE')
  parser.add_argument('--requests', type=int, default=1000)
  parser.add_argument('--clients', type=int, default=50)
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--scenes', type=int, default=12)
  args = parser.parse_args(argv)
  with _scratch() as folder:
    if args.what == 'load':
      found = load_test(
        folder,
        requests=args.requests,
        clients=args.clients,
        model=args.model,
      )
    elif args.what == 'pictures':
      found = pictures(folder, pathlib.Path('docs'), model=args.model)
    elif args.what == 'live':
      found = live(folder, scenes=args.scenes, model=args.model)
    else:
      stories = [
        {'seed': seed, 'scenes': [{'prompt': one} for one in PROMPTS * 6]}
        for seed in range(3)
      ]
      found = kill_often(
        folder, stories, kills=args.kills, seconds=6.0, model=args.model
      )
  print(json.dumps(found, indent=1))


@contextlib.contextmanager
def _scratch() -> Iterator[pathlib.Path]:
  with tempfile.TemporaryDirectory() as scratch:
    yield pathlib.Path(os.path.realpath(scratch)) / 'served'


if __name__ == '__main__':
  main()
