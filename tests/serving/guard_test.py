"""Refused requests never reach the application."""

import asyncio
import json

import pytest

from phenaki_jax.serving.guard import Guard
from phenaki_jax.serving.limits import Limits
from phenaki_jax.serving.metrics import Metrics

TOKEN = 'a-secret-of-a-server'
BEARER = {'authorization': f'Bearer {TOKEN}'}


def _ask(
  path='/v1/stories',
  *,
  method='POST',
  headers=(),
  body=(b'{}',),
  token='',
  metrics=None,
):
  """Return the status, the answer, and the bodies that the application saw."""
  seen, sent = [], []
  parts = list(body)

  async def app(scope, receive, send):
    seen.append((await receive())['body'] if method == 'POST' else b'')
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'done'})

  async def receive():
    if not parts:
      await asyncio.sleep(60)  # A client that sends nothing more.
    part = parts.pop(0)
    more = bool(parts) or len(body) > 1
    return {'type': 'http.request', 'body': part, 'more_body': more}

  async def send(message):
    sent.append(message)

  guard = Guard(
    app,
    limits=Limits(body_bytes=100, body_seconds=0.05),
    metrics=metrics or Metrics(),
    token=token,
  )
  pairs = {'host': 'localhost:8000', **dict(headers)}
  scope = {
    'type': 'http',
    'method': method,
    'path': path,
    'headers': [(k.encode(), v.encode()) for k, v in pairs.items()],
  }
  asyncio.run(guard(scope, receive, send))
  found = dict(sent[0]['headers'])
  return sent[0]['status'], sent[1]['body'], seen, found


def test_small_request_passes_with_its_id():
  status, _, seen, headers = _ask(headers={'x-request-id': 'mine-1'})
  assert (status, seen) == (200, [b'{}'])
  assert headers[b'x-request-id'] == b'mine-1'
  _, _, _, headers = _ask(headers={'x-request-id': 'a\nb'})
  assert len(headers[b'x-request-id']) == 32


@pytest.mark.parametrize(
  ('options', 'status'),
  [
    ({'headers': {'content-length': '101'}}, 413),
    ({'headers': {'content-length': '-5'}}, 413),
    ({'headers': {'content-length': 'NaN'}}, 413),
    ({'body': (b'x' * 60, b'x' * 60)}, 413),
    ({'body': (b'x', b'x')}, 408),
    ({'headers': {'origin': 'https://other.example'}}, 403),
    ({'headers': {'origin': 'null'}}, 403),
    ({'headers': {'host': 'rebound.example'}}, 403),
    ({'headers': {'host': '['}}, 403),
    ({'token': TOKEN}, 401),
    ({'token': TOKEN, 'headers': {'authorization': 'Bearer wrong'}}, 401),
    ({'token': TOKEN, 'headers': {'authorization': f'Basic {TOKEN}'}}, 401),
    ({'token': TOKEN, 'headers': {'authorization': 'Bearer é'}}, 401),
    ({'token': TOKEN, 'path': '/metrics', 'method': 'GET'}, 401),
  ],
)
def test_refused_request_does_not_reach_the_application(options, status):
  found, body, seen, _ = _ask(**options)
  assert (found, seen) == (status, [])
  assert json.loads(body)['error']['message']


@pytest.mark.parametrize(
  'options',
  [
    {'headers': {'origin': 'http://localhost:8000'}},
    {'headers': {'host': '[::1]:8000'}},
    {'token': TOKEN, 'headers': BEARER},
    {'token': TOKEN, 'headers': {**BEARER, 'host': 'stories.example'}},
    {'token': TOKEN, 'path': '/', 'method': 'GET'},
    {'token': TOKEN, 'path': '/page.js', 'method': 'GET'},
    {'token': TOKEN, 'path': '/v2/health/live', 'method': 'GET'},
  ],
)
def test_allowed_request_reaches_it(options):
  assert _ask(**options)[0] == 200


def test_part_of_a_body_is_not_taken_for_all_of_it():
  seen = []

  async def app(scope, receive, send):
    seen.append(await receive())

  messages = [
    {'type': 'http.request', 'body': b'{"seed": 1', 'more_body': True},
    {'type': 'http.disconnect'},
  ]

  async def receive():
    return messages.pop(0)

  guard = Guard(app, limits=Limits(), metrics=Metrics())
  headers = [(b'host', b'localhost')]
  scope = {'type': 'http', 'method': 'POST', 'path': '/', 'headers': headers}
  asyncio.run(guard(scope, receive, seen.append))
  assert not seen and not messages


def test_methods_that_clients_invent_make_no_series_of_their_own():
  metrics = Metrics()
  for method in ('POST', 'INVENTED', 'OTHERS'):
    _ask(method=method, metrics=metrics)
  text = metrics.render().decode()
  assert 'INVENTED' not in text
  assert 'method="other",route="none",status="200"} 2.0' in text


def test_errors_have_the_form_of_their_api():
  headers = {'content-length': '101'}
  _, body, _, _ = _ask('/v2/models/m/infer', headers=headers)
  assert json.loads(body) == {'error': 'the body has more than 100 bytes'}
  _, body, _, _ = _ask('/v1/videos', headers=headers)
  assert json.loads(body)['error']['type'] == 'invalid_request_error'
