"""The application: all APIs, the page, and the threads behind them."""

import contextlib
import importlib.resources
import logging
import pathlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import phenaki_jax
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.media.credentials import Certificate
from phenaki_jax.runs.model import Model
from phenaki_jax.serving import inference_api, story_api, video_api
from phenaki_jax.serving.batcher import Batcher, WarmUp
from phenaki_jax.serving.guard import Guard, error_body
from phenaki_jax.serving.jobs import ConflictError
from phenaki_jax.serving.limits import BusyError, Limits
from phenaki_jax.serving.metrics import Metrics
from phenaki_jax.serving.studio import Studio
from phenaki_jax.serving.workers import Workers

_LOG = logging.getLogger(__name__)


class State:
  """What the requests of a server share.

  Attributes:
    batcher: makes clips.
    metrics: counts.
    stopping: is set when the server has to stop.
    streams: number of clients that follow a story.
    failure: ended the thread of the device; the server then stops.
  """

  def __init__(self) -> None:
    """Set the start values; `batcher` is set when the server starts."""
    self.batcher: Any = None
    self.metrics = Metrics()
    self.stopping = threading.Event()
    self.streams = 0
    self.failure: BaseException | None = None

  def fail(self, error: BaseException) -> None:
    """Stop the server because of an error."""
    self.failure = error
    self.stopping.set()


def make_app(
  model: Model,
  folder: pathlib.Path,
  *,
  limits: Limits,
  token: str = '',
  labelled: bool = True,
  marked: bool = False,
  certificate: Certificate | None = None,
  batch_sizes: Sequence[int] = (1,),
  workers: int = 2,
  warm_up: bool = True,
) -> FastAPI:
  """Return the application.

  Args:
    model: makes the videos.
    folder: of jobs, scenes and films; the caller has locked it.
    limits: what is accepted.
    token: that clients have to send; empty for none.
    labelled: write 'AI-generated' into each frame.
    marked: add the invisible mark to films (see `media.mark`).
    certificate: signs films and pictures (see `media.credentials`).
    batch_sizes: allowed batch sizes on the device.
    workers: stories that are made at the same time.
    warm_up: compile before the first request.
  """
  state = State()
  studio = Studio(
    model,
    folder,
    limits,
    labelled=labelled,
    marked=marked,
    certificate=certificate,
  )
  defaults = model.defaults

  @contextlib.asynccontextmanager
  async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    common = WarmUp(
      size=defaults.size,
      settings=defaults.settings,
      context_frames=defaults.context_frames,
    )
    state.batcher = Batcher(
      model.sampler,
      sizes=batch_sizes,
      waiting=limits.waiting_clips,
      warm_up=common if warm_up else None,
      observe=state.metrics.batch,
      failed=state.fail,
    )
    threads = Workers(studio, state.batcher, state.metrics, count=workers)
    threads.start()
    try:
      yield
    finally:
      state.stopping.set()
      threads.stop()
      state.batcher.close()
      studio.jobs.close()

  app = FastAPI(
    title='phenaki_jax',
    version=phenaki_jax.__version__,
    lifespan=lifespan,
    # The interactive pages load scripts from other sites.
    docs_url=None,
    redoc_url=None,
  )
  app.state.shared = state
  app.state.studio = studio
  app.include_router(story_api.make_router(studio, state))
  app.include_router(video_api.make_router(studio))
  app.include_router(inference_api.make_router(studio, state))
  _add_page(app)

  @app.get('/metrics', include_in_schema=False)
  def metrics() -> Response:
    """Return metrics in the text format of Prometheus."""
    state.metrics.ended(studio.jobs.count())
    return Response(state.metrics.render(), media_type='text/plain')

  _handle_errors(app)
  app.add_middleware(Guard, limits=limits, metrics=state.metrics, token=token)
  return app


def _respond(
  content: bytes, kind: str, headers: Mapping[str, str]
) -> Callable[[], Response]:
  return lambda: Response(content, media_type=kind, headers=dict(headers))


def _add_page(app: FastAPI) -> None:
  """Serve the storyboard page: markup, style and script."""
  source = importlib.resources.files('phenaki_jax.serving') / 'page'
  headers = {
    # Elements have style attributes.
    'content-security-policy': "default-src 'self'; img-src 'self' data: "
    "blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    'cache-control': 'no-cache',
  }
  for path, name, kind in (
    ('/', 'index.html', 'text/html'),
    ('/page.css', 'page.css', 'text/css'),
    ('/page.js', 'page.js', 'text/javascript'),
  ):
    response = _respond((source / name).read_bytes(), kind, headers)
    app.add_api_route(
      path,
      response,
      include_in_schema=False,
      response_class=Response,
    )


def _handle_errors(app: FastAPI) -> None:
  """Give every error the form of its API, and one sentence."""

  def answer(request: Request, status: int, sentence: str) -> JSONResponse:
    headers = {'retry-after': '5'} if status in (429, 503) else None
    body = error_body(request.url.path, status, sentence)
    return JSONResponse(body, status_code=status, headers=headers)

  def of_user(request: Request, error: Exception) -> JSONResponse:
    status = 400 if request.url.path.startswith('/v2') else 422
    if isinstance(error, NotFoundError):
      status = 404
    elif isinstance(error, ConflictError):
      status = 409
    return answer(request, status, str(error))

  def busy(request: Request, error: Exception) -> JSONResponse:
    return answer(request, 429, str(error))

  def of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(request, error.status_code, str(error.detail))

  def wrong(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = '.'.join(str(part) for part in first['loc'])
    return answer(request, 422, f'{where}: {first["msg"]}')

  app.add_exception_handler(UserError, of_user)
  app.add_exception_handler(BusyError, busy)
  app.add_exception_handler(HTTPException, of_http)
  app.add_exception_handler(RequestValidationError, wrong)
