"""The API of stories: submit, extend, change, follow, fetch.

The body of a new story is a story file, in JSON or YAML.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.serving.events import follow
from phenaki_jax.serving.limits import BusyError
from phenaki_jax.serving.studio import Checked, Studio
from phenaki_jax.stories import markup
from phenaki_jax.stories.outputs import MIN_DRIFT_FRAMES

_TYPES = {
  'mp4': 'video/mp4',
  'gif': 'image/gif',
  'png': 'image/png',
  'json': 'application/json',
  'drift.png': 'image/png',
}


async def read_json(request: Request) -> Any:
  """Return the values of a JSON body.

  Raises:
    UserError: it is not JSON.
  """
  try:
    text = (await request.body()).decode()
  except UnicodeDecodeError as error:
    raise UserError('the body is not UTF-8 text') from error
  values, _ = await run_in_threadpool(markup.read_json, text)
  return values


def make_router(studio: Studio, state: Any) -> APIRouter:
  """Return the routes.

  Args:
    studio: makes the stories.
    state: `metrics` counts the streams, which end when `stopping` is set.
  """
  router = APIRouter(prefix='/v1', tags=['stories'])

  async def parse(request: Request) -> Checked:
    kind = request.headers.get('content-type', '')
    body = await request.body()
    # In a thread, so that a story of many words holds up nobody.
    return await run_in_threadpool(studio.parse, body, is_yaml='yaml' in kind)

  @router.get('/model')
  def model() -> dict[str, Any]:
    """Describe the model: defaults, limits, words, and an example or null."""
    defaults, words = studio.model.defaults, studio.model.words
    return {
      'name': studio.model.name,
      'fingerprint': studio.model.fingerprint,
      'size': defaults.size,
      'fps': defaults.fps,
      'clip_frames': defaults.clip_frames,
      'settings': {
        'guidance': defaults.settings.guidance,
        'steps': defaults.settings.steps,
        'temperature': defaults.settings.temperature,
      },
      'limits': {
        name: getattr(studio.limits, name)
        for name in ('prompt', 'scenes', 'frames', 'steps')
      },
      'words': [] if words is None else list(words.counts)[:500],
      'example': studio.example(),
      'ready': state.batcher.ready.is_set(),
    }

  @router.post('/check')
  async def check(request: Request) -> dict[str, Any]:
    """Check a story without making it; name words that the model never saw."""
    checked = await parse(request)
    return {
      'frames': checked.story.num_frames,
      'fps': checked.story.fps,
      'scenes': [{'frames': scene.frames} for scene in checked.story.scenes],
      'remarks': [one.to_json() for one in checked.remarks],
    }

  @router.post('/read')
  async def read(request: Request) -> Any:
    """Return a story file, which may be YAML, as the values of JSON."""
    return (await parse(request)).values

  @router.post('/stories', status_code=202)
  async def submit(request: Request, strict: bool = False) -> dict[str, Any]:
    """Make a story; `strict` refuses one with remarks."""
    checked = await parse(request)
    if strict and checked.remarks:
      raise UserError('; '.join(one.sentence for one in checked.remarks))
    job = await run_in_threadpool(studio.submit, checked)
    return studio.describe(job)

  @router.get('/stories')
  def stories(limit: int = 20) -> dict[str, Any]:
    """List the newest stories."""
    jobs = studio.jobs.newest(limit=min(max(limit, 1), 100))
    return {'stories': [studio.describe(job) for job in jobs]}

  @router.get('/stories/{identifier}')
  def story(identifier: str) -> dict[str, Any]:
    """Return one story."""
    return studio.describe(studio.jobs.get(identifier))

  @router.put('/stories/{identifier}')
  async def change(identifier: str, request: Request) -> dict[str, Any]:
    """Replace a story; scenes that stay the same are not made again."""
    job, checked = studio.jobs.get(identifier), await parse(request)
    job = await run_in_threadpool(studio.change, job, checked.values)
    return studio.describe(job)

  @router.delete('/stories/{identifier}', status_code=204)
  def remove(identifier: str) -> Response:
    """Cancel and remove a story with its film."""
    studio.remove(identifier)
    return Response(status_code=204)

  @router.post('/stories/{identifier}/scenes', status_code=202)
  async def append(identifier: str, request: Request) -> dict[str, Any]:
    """Add scenes to the end, also while the story is being made."""
    values = await read_json(request)
    scenes = values.get('scenes') if isinstance(values, dict) else None
    job = studio.jobs.get(identifier)
    job = await run_in_threadpool(studio.append, job, scenes)
    return studio.describe(job)

  @router.post('/stories/{identifier}/scenes/{number}/reroll', status_code=202)
  def reroll(identifier: str, number: int) -> dict[str, Any]:
    """Give a scene (from 1) another seed; later scenes continue from it."""
    return studio.describe(studio.roll(studio.jobs.get(identifier), number))

  @router.post('/stories/{identifier}/cancel')
  def cancel(identifier: str) -> dict[str, Any]:
    """Cancel a story; its finished scenes are kept."""
    return studio.describe(studio.jobs.cancel(identifier))

  @router.get('/stories/{identifier}/events')
  def events(
    identifier: str, last_event_id: Annotated[str, Header()] = ''
  ) -> StreamingResponse:
    """Follow a story by server-sent events."""
    studio.jobs.get(identifier)
    if state.streams >= studio.limits.streams:
      raise BusyError(f'{state.streams} clients follow stories already')

    async def counted() -> Any:
      state.streams += 1
      state.metrics.streams.set(state.streams)
      try:
        async for event in follow(
          studio,
          identifier,
          last=last_event_id,
          is_stopping=state.stopping.is_set,
        ):
          yield event
      finally:
        state.streams -= 1
        state.metrics.streams.set(state.streams)

    return StreamingResponse(
      counted(),
      media_type='text/event-stream',
      headers={'cache-control': 'no-store', 'x-accel-buffering': 'no'},
    )

  @router.get('/stories/{identifier}/story.json')
  def share(identifier: str) -> JSONResponse:
    """Return the story file, which `phenaki story` reads too."""
    job = studio.jobs.get(identifier)
    return JSONResponse(
      job.story,
      headers={'content-disposition': 'attachment; filename="story.json"'},
    )

  @router.get('/stories/{identifier}/film.{suffix}')
  def film(
    identifier: str, suffix: Literal['mp4', 'gif', 'png', 'json', 'drift.png']
  ) -> FileResponse:
    """Return the film, the GIF, the contact sheet, the record or the drift."""
    return film_file(studio, identifier, suffix)

  return router


def film_file(studio: Studio, identifier: str, suffix: str) -> FileResponse:
  """Return a file of a finished film; clients may ask for ranges of it.

  Raises:
    NotFoundError: there is no such story, or it is not finished.
  """
  job = studio.jobs.get(identifier)
  path = studio.film(job, suffix)
  if job.status == 'done' and not path.is_file():
    raise NotFoundError(
      f'this story has no {path.name}; films of {MIN_DRIFT_FRAMES} frames or '
      'more have a report on their drift'
    )
  if job.status != 'done':
    raise NotFoundError(
      f'the film of this story does not exist; its status is {job.status}'
    )
  return FileResponse(
    path, media_type=_TYPES[suffix], filename=f'{job.id[:8]}.{suffix}'
  )
