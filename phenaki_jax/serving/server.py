"""Run the application by uvicorn, until a signal ends it gracefully."""

import ipaddress
import logging
import pathlib
import types
from collections.abc import Sequence

import uvicorn

from phenaki_jax.errors import UserError
from phenaki_jax.files.lock import run_lock
from phenaki_jax.media.credentials import Certificate
from phenaki_jax.runs.model import Model
from phenaki_jax.serving.app import State, make_app
from phenaki_jax.serving.limits import Limits

_LOG = logging.getLogger(__name__)


class Server(uvicorn.Server):
  """Ends the streams of clients first, for which uvicorn would wait."""

  def __init__(self, config: uvicorn.Config, state: State):
    super().__init__(config)
    self._state = state

  def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
    """Stop the streams and the stories, then the server."""
    self._state.stopping.set()
    super().handle_exit(sig, frame)

  async def on_tick(self, counter: int) -> bool:
    """Return whether the server has to stop."""
    has_failed = self._state.failure is not None
    return await super().on_tick(counter) or has_failed

  async def startup(self, sockets: list | None = None) -> None:
    """Listen, and print the address."""
    await super().startup(sockets)
    if not self.started:
      return
    for server in self.servers:
      host, port = server.sockets[0].getsockname()[:2]
      shown = f'[{host}]' if ':' in host else host
      print(f'serving at http://{shown}:{port}/', flush=True)


def serve(
  model: Model,
  folder: pathlib.Path,
  *,
  host: str = '127.0.0.1',
  port: int = 8000,
  token: str = '',
  limits: Limits | None = None,
  labelled: bool = True,
  marked: bool = False,
  certificate: Certificate | None = None,
  batch_sizes: Sequence[int] = (1,),
  workers: int = 2,
  drain: int = 30,
) -> None:
  """Serve until SIGTERM or Ctrl-C.

  Stories that are being made then wait for the next start; their finished
  scenes are on disk.

  Args:
    model: makes the videos.
    folder: of jobs, scenes and films.
    host: address to listen on.
    port: 0 chooses a free one.
    token: see `make_app`.
    limits: what is accepted.
    labelled: write 'AI-generated' into each frame.
    marked: add the invisible mark to films (see `media.mark`).
    certificate: signs films and pictures (see `media.credentials`).
    batch_sizes: allowed batch sizes on the device.
    workers: stories that are made at the same time.
    drain: seconds that open requests have to finish when the server stops.

  Raises:
    UserError: another server uses the folder, the address can be reached by
      others and there is no token, or the model learnt from clips without
      captions.
  """
  if not model.data.clip_captions:
    raise UserError(
      f'the stories of {model.name} take two stages (docs/diffusion.md), which '
      'the server does not have; use phenaki story'
    )
  if not token and not _is_loopback(host):
    raise UserError(
      f'--host is {host}, which other machines can reach, and there is no '
      'token; give --token-file, or use --host 127.0.0.1'
    )
  limits = limits or Limits()
  with run_lock(folder, option='--data'):
    app = make_app(
      model,
      folder,
      limits=limits,
      token=token,
      labelled=labelled,
      marked=marked,
      certificate=certificate,
      batch_sizes=batch_sizes,
      workers=workers,
    )
    config = uvicorn.Config(
      app,
      host=host,
      port=port,
      log_config=None,
      access_log=False,
      server_header=False,
      timeout_keep_alive=10,
      timeout_graceful_shutdown=drain,
      limit_concurrency=limits.streams + 200,
      h11_max_incomplete_event_size=32_768,
    )
    Server(config, app.state.shared).run()
    if app.state.shared.failure is not None:
      raise app.state.shared.failure


def _is_loopback(host: str) -> bool:
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False
