"""A server of an untrained model on a real socket, shared by its tests."""

import pathlib
import threading
import time

import httpx
import pytest
import uvicorn


@pytest.fixture(scope='session')
def tiny_model(tiny_bundle):
  from phenaki_jax.runs.open import load

  return load(tiny_bundle)


@pytest.fixture(scope='session')
def start_server(tiny_model):
  """Return a function that starts a server in a thread."""
  from phenaki_jax.serving.app import make_app
  from phenaki_jax.serving.limits import Limits
  from phenaki_jax.serving.server import Server

  running = []

  def start(folder: pathlib.Path, **options):
    folder.mkdir(parents=True, exist_ok=True)
    options.setdefault('limits', Limits(frames=200, queue=4))
    app = make_app(tiny_model, folder, warm_up=False, **options)
    config = uvicorn.Config(app, port=0, log_config=None)
    server = Server(config, app.state.shared)
    thread = threading.Thread(target=server.run)
    thread.start()
    running.append((server, thread))
    while not server.started:
      time.sleep(0.01)
    (socket,) = server.servers[0].sockets
    server.url = f'http://localhost:{socket.getsockname()[1]}'
    return server

  yield start
  for server, thread in running:
    server.handle_exit(15, None)
    thread.join()


@pytest.fixture(scope='session')
def server(start_server, tmp_path_factory):
  return start_server(tmp_path_factory.mktemp('served'))


@pytest.fixture(scope='session')
def client(server):
  with httpx.Client(base_url=server.url, timeout=60) as client:
    yield client


@pytest.fixture(scope='session')
def wait_for(client):
  """Return a function that waits until a story has ended."""

  def wait(identifier):
    while True:
      job = client.get(f'/v1/stories/{identifier}').json()
      if job['is_final']:
        return job
      time.sleep(0.02)

  return wait
