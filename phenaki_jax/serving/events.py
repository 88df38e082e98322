"""Follow a story by server-sent events: its progress and its frames.

The stream is made of what is stored, not of messages that a client could miss:
a client that connects late, or again, receives what it lacks, and a slow client
holds up nobody. Events are

    story    the job, whenever it has changed
    frame    {scene, frame, png}: numbers from 0, and the image in base64
    end      the job, when it is done, failed or cancelled
    error    {code, message}, if the stream cannot go on

The id of an event names the last frame; after an interruption a client sends it
as Last-Event-ID and goes on from there.
"""

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from phenaki_jax.errors import NotFoundError
from phenaki_jax.serving.studio import Studio

_LOG = logging.getLogger(__name__)
_POLL = 0.05
_ALIVE = 15.0
_ID = re.compile(r'(\d{1,9})-(\d{1,9})-(\d{1,9})')


def encode(name: str, data: Any, identifier: str = '') -> bytes:
  """Return one event; its data are one line of JSON, so it needs no escapes."""
  text = json.dumps(data, ensure_ascii=True, allow_nan=False)
  head = f'id: {identifier}\n' if identifier else ''
  return f'{head}event: {name}\ndata: {text}\n\n'.encode()


async def follow(
  studio: Studio,
  identifier: str,
  *,
  last: str = '',
  is_stopping: Callable[[], bool] = lambda: False,
) -> AsyncIterator[bytes]:
  """Yield the events of a story until it ends or the server stops.

  Args:
    studio: has the story.
    identifier: of the job.
    last: the id of the last event that the client has received.
    is_stopping: whether the stream has to end.
  """
  try:
    async for event in _events(studio, identifier, last, is_stopping):
      yield event
  except NotFoundError as error:
    yield encode('error', {'code': 404, 'message': str(error)})
  except Exception:
    _LOG.exception('stream failed', extra={'story': identifier})
    yield encode('error', {'code': 500, 'message': 'internal error'})


async def _events(
  studio: Studio, identifier: str, last: str, is_stopping: Callable[[], bool]
) -> AsyncIterator[bytes]:
  sent: dict[int, tuple[str, int]] = {}
  shown: Any = None
  spoke = time.monotonic()
  while not is_stopping():
    job = await asyncio.to_thread(studio.jobs.get, identifier)
    story, keys = studio.story(job), studio.keys(job)
    if match := _ID.fullmatch(last):
      revision, scene, frame = map(int, match.groups())
      if revision == job.revision:
        sent = {n: (key, 10**9) for n, key in enumerate(keys[:scene])}
        if scene < len(keys):
          sent[scene] = (keys[scene], frame + 1)
    last = ''
    state = (job.status, job.revision)
    if state != shown:
      yield encode('story', await asyncio.to_thread(studio.describe, job))
      shown, spoke = state, time.monotonic()
    for number, key in enumerate(keys):
      shape = studio.shape(story, number)
      known, start = sent.get(number, (key, 0))
      start = start if known == key else 0
      count = await asyncio.to_thread(studio.pictures.count, key, shape)
      for frame in range(start, count):
        png = await asyncio.to_thread(studio.pictures.png, key, shape, frame)
        if png is None:
          break
        data = {
          'scene': number,
          'frame': frame,
          'png': base64.b64encode(png).decode(),
        }
        yield encode('frame', data, f'{job.revision}-{number}-{frame}')
        sent[number], spoke = (key, frame + 1), time.monotonic()
      if sent.get(number, (key, 0))[1] < shape[0]:
        break
    if job.status in ('done', 'failed', 'cancelled'):
      # Nothing is added to a job that has ended, unless it begins again.
      again = await asyncio.to_thread(studio.jobs.get, identifier)
      if again == job:
        yield encode('end', await asyncio.to_thread(studio.describe, job))
        return
    if time.monotonic() - spoke > _ALIVE:
      yield b': still here\n\n'
      spoke = time.monotonic()
    await asyncio.sleep(_POLL)
