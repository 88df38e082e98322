"""The OpenAI Videos API, which clients of video servers speak.

A video is a story of one scene. Create, retrieve, list, content, remix and
delete behave as the published client expects; `seed` is an addition.
"""

import contextlib
import math
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.media.png import encode_png
from phenaki_jax.media.provenance import NOTICE
from phenaki_jax.serving.jobs import Job
from phenaki_jax.serving.story_api import film_file, read_json
from phenaki_jax.serving.studio import Studio
from phenaki_jax.stories.seeds import describe

_STATUS = {
  'queued': 'queued',
  'running': 'in_progress',
  'done': 'completed',
  'failed': 'failed',
  'cancelled': 'failed',
}
_FIELDS = ('prompt', 'model', 'seconds', 'size', 'seed')
_MAX_LIST = 100


def make_router(studio: Studio) -> APIRouter:
  """Return the routes."""
  router = APIRouter(prefix='/v1/videos', tags=['videos'])

  @router.post('')
  async def create(request: Request) -> dict[str, Any]:
    """Make a video of a prompt."""
    if 'json' in request.headers.get('content-type', ''):
      values = await read_json(request)
    else:
      async with request.form(max_files=0, max_fields=10) as form:
        values = dict(form)
    if not isinstance(values, dict):
      raise UserError('the body must be an object with a prompt')
    if others := sorted(set(values) - set(_FIELDS)):
      raise UserError(
        f'{others[0]} is not supported; give {", ".join(_FIELDS)}'
      )
    job = await run_in_threadpool(_submit, studio, values)
    return _describe(studio, job)

  @router.get('')
  def videos(
    after: str = '', limit: int = 20, order: Literal['asc', 'desc'] = 'desc'
  ) -> dict[str, Any]:
    """List videos."""
    jobs = studio.jobs.newest(limit=10**9)
    if order == 'asc':
      jobs.reverse()
    if after:
      places = [i for i, job in enumerate(jobs) if job.id == after]
      if not places:
        raise NotFoundError(f'there is no video {after[:64]}')
      jobs = jobs[places[0] + 1 :]
    limit = min(max(limit, 1), _MAX_LIST)
    data = [_describe(studio, job) for job in jobs[:limit]]
    return {
      'object': 'list',
      'data': data,
      'first_id': data[0]['id'] if data else None,
      'last_id': data[-1]['id'] if data else None,
      'has_more': len(jobs) > limit,
    }

  @router.get('/{identifier}')
  def retrieve(identifier: str) -> dict[str, Any]:
    """Return one video."""
    return _describe(studio, studio.jobs.get(identifier))

  @router.get('/{identifier}/content', response_model=None)
  def content(
    identifier: str,
    variant: Literal['video', 'thumbnail', 'spritesheet'] = 'video',
  ) -> FileResponse | Response:
    """Return the MP4, its first frame, or the contact sheet."""
    if variant != 'thumbnail':
      suffix = 'mp4' if variant == 'video' else 'png'
      return film_file(studio, identifier, suffix)
    job = studio.jobs.get(identifier)
    story, keys, _ = studio.resolved(job)
    frame = studio.pictures.frame(keys[0], studio.shape(story, 0), 0)
    if frame is None:
      raise NotFoundError(f'the video has no frame yet; it is {job.status}')
    made_by = {'notice': NOTICE, **studio.model.provenance}
    png = encode_png(frame, provenance={**made_by, 'story': describe(story)})
    return Response(png, media_type='image/png')

  @router.post('/{identifier}/remix')
  async def remix(identifier: str, request: Request) -> dict[str, Any]:
    """Make the video again with another prompt of its last scene."""
    values = await read_json(request)
    if not isinstance(values, dict) or set(values) != {'prompt'}:
      raise UserError('give the new prompt: {"prompt": "..."}')
    job = studio.jobs.get(identifier)
    *first, last = job.story['scenes']
    scenes = [*first, {**last, 'prompt': values['prompt']}]
    story = {**job.story, 'scenes': scenes}
    checked = await run_in_threadpool(studio.check, story)
    details = {**job.details, 'remixed_from': job.id}
    job = await run_in_threadpool(studio.submit, checked, details)
    return _describe(studio, job)

  @router.delete('/{identifier}')
  def remove(identifier: str) -> dict[str, Any]:
    """Remove a video."""
    studio.remove(identifier)
    return {'id': identifier, 'object': 'video.deleted', 'deleted': True}

  return router


def _submit(studio: Studio, values: dict[str, Any]) -> Job:
  height, width = studio.model.defaults.size
  size = values.get('size') or f'{width}x{height}'
  if size != f'{width}x{height}':
    raise UserError(
      f'size is {str(size)[:40]!r}; this model makes {width}x{height}'
    )
  model = values.get('model') or studio.model.name
  if model != studio.model.name:
    raise UserError(
      f'there is no model {str(model)[:40]!r}; use {studio.model.name!r}, or '
      'leave model out'
    )
  scene = {'prompt': values.get('prompt', '')}
  seconds = values.get('seconds')
  if seconds is not None:
    scene['seconds'] = _number(seconds, 'seconds')
  seed = _number(values.get('seed', 0), 'seed')
  if seed != int(seed):
    raise UserError(f'seed is {seed}; it must be a whole number')
  checked = studio.check({'scenes': [scene], 'seed': int(seed)})
  return studio.submit(checked, {'api': 'videos'})


def _number(value: Any, name: str) -> float:
  """Return a number, which forms and the API write as text."""
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not math.isfinite(number) or isinstance(value, bool):
    raise UserError(f'{name} is {str(value)[:40]!r}; it must be a number')
  return number


def _describe(studio: Studio, job: Job) -> dict[str, Any]:
  prompt, seconds, total = '', '0', 1
  height, width = studio.model.defaults.size
  # A story that cannot be resolved any more is described without its scenes.
  with contextlib.suppress(UserError):
    story = studio.story(job)
    assert story.fps is not None and story.size is not None
    prompt, total = story.scenes[-1].prompt, story.num_frames
    seconds = f'{total / story.fps:g}'
    height, width = story.size
  done = total if job.status == 'done' else min(job.frames, total - 1)
  error = None
  if _STATUS[job.status] == 'failed':
    message = job.error or 'it was cancelled'
    error = {'code': job.status, 'message': message}
  return {
    'id': job.id,
    'object': 'video',
    'model': studio.model.name,
    'status': _STATUS[job.status],
    'progress': 100 * done // total,
    'created_at': int(job.created),
    'completed_at': int(job.changed) if job.status == 'done' else None,
    'expires_at': None,
    'error': error,
    'prompt': prompt,
    'seconds': seconds,
    'size': f'{width}x{height}',
    'remixed_from_video_id': job.details.get('remixed_from'),
  }
