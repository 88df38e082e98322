"""The Open Inference Protocol (KServe v2): health, metadata and infer.

One call makes clips of prompts; stories have an API of their own. Tensors are
in JSON. Inputs are `prompt` (BYTES [B]) and `seed` (UINT32 [B], optional), the
output is `frames` (UINT8 [B, T, H, W, 3]).
"""

import asyncio
import concurrent.futures
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

import phenaki_jax
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.serving.limits import BusyError
from phenaki_jax.serving.story_api import read_json
from phenaki_jax.serving.studio import Studio
from phenaki_jax.stories.markup import shorten

MAX_BATCH = 8


def make_router(studio: Studio, state: Any) -> APIRouter:
  """Return the routes; `state` has the batcher and says whether it stops."""
  router = APIRouter(prefix='/v2', tags=['inference'])
  name = studio.model.name
  height, width = studio.model.defaults.size
  waiting = 0

  def is_ready() -> bool:
    return state.batcher.ready.is_set() and not state.stopping.is_set()

  def check_name(model: str) -> None:
    if model != name:
      raise NotFoundError(f'there is no model {model[:64]!r}; it is {name!r}')

  @router.get('')
  async def server() -> dict[str, Any]:
    """Describe the server."""
    return {
      'name': 'phenaki_jax',
      'version': phenaki_jax.__version__,
      'extensions': [],
    }

  @router.get('/health/live')
  async def live() -> dict[str, bool]:
    """Say that the server answers."""
    return {'live': True}

  @router.get('/health/ready')
  async def ready() -> Response:
    """Say whether the programs are compiled."""
    return Response(status_code=200 if is_ready() else 503)

  @router.get('/models/{model}/ready')
  async def model_ready(model: str) -> Response:
    """Say whether the model is ready."""
    check_name(model)
    return await ready()

  @router.get('/models/{model}')
  async def metadata(model: str) -> dict[str, Any]:
    """Describe the inputs and outputs."""
    check_name(model)
    frames = studio.model.defaults.clip_frames
    return {
      'name': name,
      'versions': [studio.model.fingerprint[:16]],
      'platform': 'jax',
      'inputs': [
        {'name': 'prompt', 'datatype': 'BYTES', 'shape': [-1]},
        {'name': 'seed', 'datatype': 'UINT32', 'shape': [-1]},
      ],
      'outputs': [
        {
          'name': 'frames',
          'datatype': 'UINT8',
          'shape': [-1, frames, height, width, 3],
        }
      ],
    }

  @router.post('/models/{model}/infer')
  async def infer(model: str, request: Request) -> Response:
    """Make one clip for each prompt."""
    nonlocal waiting
    check_name(model)
    values = await read_json(request)
    inputs = _inputs(values)
    prompts = inputs.get('prompt')
    if prompts is None:
      raise UserError('the input prompt is missing; it is BYTES [B]')
    count = len(prompts)
    if not 1 <= count <= MAX_BATCH:
      raise UserError(f'there are {count} prompts; give 1 to {MAX_BATCH}')
    seeds = inputs.get('seed', [0] * count)
    if len(seeds) != count:
      raise UserError(f'{count} prompts and {len(seeds)} seeds; give as many')
    checked = [
      await run_in_threadpool(
        studio.check, {'scenes': [{'prompt': prompt}], 'seed': seed}
      )
      for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    begin = time.monotonic()
    if waiting >= studio.limits.queue:
      raise BusyError(f'{waiting} requests wait already; try again later')
    waiting += 1
    try:
      results = state.batcher.submit(
        [one.story.scenes[0].prompt for one in checked],
        size=studio.model.defaults.size,
        seeds=seeds,
        settings=studio.model.defaults.settings,
      )
      clips = await _wait(results, request, seconds=studio.limits.seconds)
    finally:
      waiting -= 1

    def encode() -> bytes:
      finished = np.stack(
        [[studio.finish(frame) for frame in clip] for clip in clips]
      )
      output = {
        'name': 'frames',
        'datatype': 'UINT8',
        'shape': list(finished.shape),
        'data': finished.ravel().tolist(),
      }
      answer = {
        'model_name': name,
        'model_version': studio.model.fingerprint[:16],
        'id': values.get('id', ''),
        'parameters': {'seconds': round(time.monotonic() - begin, 3)},
        'outputs': [output],
      }
      return json.dumps(answer).encode()

    data = await run_in_threadpool(encode)
    return Response(data, media_type='application/json')

  return router


async def _wait(
  results: Sequence[concurrent.futures.Future[np.ndarray]],
  request: Request,
  *,
  seconds: float,
) -> list[np.ndarray]:
  """Return clips; those that nobody waits for any more are not begun.

  Raises:
    BusyError: they are late, or the client has left.
  """

  async def gather() -> list[np.ndarray]:
    # Clips that wait for the device hold no thread, of which there are few.
    return await asyncio.gather(*map(asyncio.wrap_future, results))

  made = asyncio.create_task(gather())
  # The body was read, so that what comes next is that the client leaves.
  left = asyncio.ensure_future(request.receive())
  try:
    await asyncio.wait(
      (made, left), timeout=seconds, return_when='FIRST_COMPLETED'
    )
    if made.done():
      return made.result()
    raise BusyError(
      f'the clips were not made within {seconds:g} seconds; try again later'
    )
  finally:
    made.cancel()
    left.cancel()


def _inputs(values: Any) -> dict[str, list[Any]]:
  """Return the data of each input tensor, checked."""
  if not isinstance(values, dict) or not isinstance(values.get('inputs'), list):
    raise UserError('the body must be an object with a list of inputs')
  kinds: dict[Any, tuple[str, type]] = {
    'prompt': ('BYTES', str),
    'seed': ('UINT32', int),
  }
  found = {}
  for one in values['inputs']:
    one = one if isinstance(one, dict) else {}
    key = one.get('name')
    if not isinstance(key, str) or key not in kinds:
      raise UserError(f'the input {shorten(key)} is unknown; give prompt, seed')
    kind, python = kinds[key]
    data = one.get('data')
    if isinstance(data, list) and any(isinstance(row, list) for row in data):
      data = [x for row in data for x in (row if isinstance(row, list) else ())]
    if one.get('datatype') != kind or not isinstance(data, list):
      raise UserError(f'{key} must be {kind} with its data as a list in JSON')
    shape = one.get('shape')
    if not isinstance(shape, list) or _product(shape) != len(data):
      raise UserError(
        f'{key} has the shape {shorten(shape)}, but {len(data)} values'
      )
    if not all(type(value) is python for value in data):
      raise UserError(f'{key} holds {shorten(data)}; it must be {kind}')
    found[key] = data
  return found


def _product(shape: list[Any]) -> int:
  result = 1
  for n in shape:
    if type(n) is not int or n < 0:
      return -1
    result *= n
  return result
