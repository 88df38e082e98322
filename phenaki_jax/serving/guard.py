"""What every request passes before the application sees it.

The token, the origin and the length of the body are checked here, so that a
request that is refused costs nothing. Bodies are read completely, within a time
limit, before anything is done with them.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import urllib.parse
import uuid
from typing import Any

from starlette.requests import ClientDisconnect

from phenaki_jax.serving.limits import Limits
from phenaki_jax.serving.metrics import Metrics

_LOG = logging.getLogger(__name__)
OPEN = ('/', '/page.css', '/page.js', '/v2/health/live', '/v2/health/ready')
"""Paths that need no token: the page, which asks for it, and probes."""

_METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')
LOOPBACK = ('localhost', '127.0.0.1', '::1')
_ID = re.compile(r'[\w.:-]{1,64}')


class Guard:
  """An ASGI application around another one."""

  def __init__(
    self, app: Any, *, limits: Limits, metrics: Metrics, token: str = ''
  ):
    """Set the application, and the token that clients have to send."""
    self._app, self._limits, self._metrics = app, limits, metrics
    self._token = _digest(token) if token else b''

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    headers = {
      name.decode('latin-1').lower(): value.decode('latin-1')
      for name, value in scope['headers']
    }
    given = headers.get('x-request-id', '')
    identifier = given if _ID.fullmatch(given) else uuid.uuid4().hex
    begin, status = time.monotonic(), 0

    async def answer(message: Any) -> None:
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
        # The template of the route, so that ids make no series of their own.
        route = getattr(scope.get('route'), 'path', 'none')
        method = scope['method'] if scope['method'] in _METHODS else 'other'
        self._metrics.requests.labels(method, route, status).inc()
        seconds = time.monotonic() - begin
        self._metrics.latency.labels(route).observe(seconds)
        _LOG.info(
          'request',
          extra={
            'request': identifier,
            'method': scope['method'],
            'path': scope['path'][:200],
            'status': status,
            'seconds': round(seconds, 4),
          },
        )
        message['headers'] = [
          *message.get('headers', ()),
          (b'x-request-id', identifier.encode()),
          (b'x-content-type-options', b'nosniff'),
        ]
      await send(message)

    if refusal := self._refusal(scope['path'], headers):
      await _refuse(answer, scope['path'], *refusal)
      return
    if scope['method'] in ('GET', 'HEAD', 'OPTIONS'):
      await self._app(scope, receive, answer)
      return
    try:
      async with asyncio.timeout(self._limits.body_seconds):
        body = await self._read(receive)
    except TimeoutError:
      sentence = f'the body did not arrive in {self._limits.body_seconds:g} s'
      await _refuse(answer, scope['path'], 408, sentence)
      return
    except ClientDisconnect:
      return  # The part that has arrived is not what the client meant.
    if body is None:
      await _refuse(answer, scope['path'], 413, self._too_long())
      return
    parts = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def replay() -> Any:
      return parts.pop() if parts else await receive()

    await self._app(scope, replay, answer)

  def _refusal(
    self, path: str, headers: dict[str, str]
  ) -> tuple[int, str] | None:
    """Return the status and the sentence for a request that is refused."""
    host = headers.get('host', '')
    origin = headers.get('origin')
    if origin is not None and origin.partition('://')[2] != host:
      return 403, 'pages of other sites may not use this server'
    try:
      name = urllib.parse.urlsplit(f'//{host}').hostname
    except ValueError:
      name = None
    # Otherwise a page could reach it under a name of its own.
    if not self._token and name not in LOOPBACK:
      return 403, (
        'without a token, this server answers only requests to localhost'
      )
    if self._token and path not in OPEN:
      scheme, _, token = headers.get('authorization', '').partition(' ')
      right = hmac.compare_digest(_digest(token.strip()), self._token)
      if scheme.lower() != 'bearer' or not right:
        return 401, 'send the token of the server: Authorization: Bearer TOKEN'
    length = headers.get('content-length', '0')
    if not length.isdecimal() or int(length) > self._limits.body_bytes:
      return 413, self._too_long()
    return None

  def _too_long(self) -> str:
    return f'the body has more than {self._limits.body_bytes} bytes'

  async def _read(self, receive: Any) -> bytes | None:
    body = b''
    while True:
      message = await receive()
      if message['type'] == 'http.disconnect':
        raise ClientDisconnect
      body += message.get('body', b'')
      if len(body) > self._limits.body_bytes:
        return None
      if not message.get('more_body'):
        return body


def error_body(path: str, status: int, sentence: str) -> dict[str, Any]:
  """Return an error in the form of the API of a path."""
  if path.startswith('/v2'):
    return {'error': sentence}
  kind = 'server_error' if status >= 500 else 'invalid_request_error'
  return {
    'error': {
      'message': sentence,
      'type': kind,
      'param': None,
      'code': status,
    }
  }


async def _refuse(send: Any, path: str, status: int, sentence: str) -> None:
  body = json.dumps(error_body(path, status, sentence)).encode()
  headers = [
    (b'content-type', b'application/json'),
    (b'content-length', str(len(body)).encode()),
    # What the client still sends is not read.
    (b'connection', b'close'),
  ]
  if status == 401:
    headers.append((b'www-authenticate', b'Bearer'))
  await send(
    {'type': 'http.response.start', 'status': status, 'headers': headers}
  )
  await send({'type': 'http.response.body', 'body': body})


def _digest(token: str) -> bytes:
  return hashlib.sha256(token.encode()).digest()
