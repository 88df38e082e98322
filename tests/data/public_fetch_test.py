"""Only public addresses are read, within limits."""

import functools
import http.server
import socket
import threading
import time
import urllib.parse

import pytest

from phenaki_jax.data import public_fetch
from phenaki_jax.data.public_fetch import (
  FetchError,
  FetchLimits,
  fetch,
  is_public,
)


@pytest.mark.parametrize(
  'address',
  [
    *('127.0.0.1', '127.9.9.9', '10.0.0.1', '172.16.0.1', '192.168.1.1'),
    *('169.254.169.254', '100.64.0.1', '0.0.0.0', '255.255.255.255'),
    *('224.0.0.1', '240.0.0.1', '192.0.2.1', '198.18.0.1'),
    # Metadata and platforms of clouds, and relays.
    *('192.0.0.192', '192.0.0.9', '168.63.129.16', '192.88.99.1'),
    *('::1', '::', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fec0::1', 'ff02::1'),
    # They stand for IPv4 addresses.
    *('::ffff:127.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '64:ff9b::7f00:1'),
    *('2002:7f00:1::', '2001:0:4136:e378:8000:63bf:80ff:fffe', '2001:db8::1'),
  ],
)
def test_other_addresses_are_not_public(address):
  assert not is_public(address)


@pytest.mark.parametrize('address', ['8.8.8.8', '1.1.1.1', '2606:4700::1111'])
def test_addresses_of_the_internet_are_public(address):
  assert is_public(address)


CONTENT = bytes(range(256)) * 500


class Handler(http.server.BaseHTTPRequestHandler):
  """Answers by the path of a request."""

  def log_message(self, *_):
    pass

  def do_GET(self):  # noqa: N802
    name, _, value = urllib.parse.unquote(self.path)[1:].partition('/')
    if name == 'to':
      self._send(302, {'Location': value})
    elif name == 'status':
      self._send(int(value), {})
    elif name == 'robots':
      self._send(200, {'X-Robots-Tag': value}, CONTENT)
    elif name == 'long':
      self._send(200, {'Content-Length': '1000000'}, CONTENT)
    elif name == 'endless':
      self._send(200, {}, CONTENT * 20)
    elif name == 'slow':
      self._send(200, {})
      for _ in range(100):
        try:
          self.wfile.write(b'x')
        except OSError:
          return
        time.sleep(0.02)
    else:
      host = self.headers['Host'].encode()
      self.server.hosts.append(host)
      self._send(200, {'Content-Length': str(len(CONTENT))}, CONTENT)

  def _send(self, status, headers, content=b''):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.end_headers()
    try:
      self.wfile.write(content)
    except OSError:
      pass


@pytest.fixture(scope='module')
def server():
  found = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  found.hosts, found.daemon_threads = [], True
  thread = threading.Thread(
    target=functools.partial(found.serve_forever, poll_interval=0.01)
  )
  thread.start()
  yield found
  found.shutdown()
  found.server_close()
  thread.join()


LOCAL = FetchLimits(
  max_bytes=200_000,
  seconds=5.0,
  redirects=2,
  is_allowed=lambda address: address == '127.0.0.1',
)


def refused(url, limits=LOCAL):
  with pytest.raises(FetchError) as caught:
    fetch(url, limits)
  return caught.value.reason


def test_a_file_is_downloaded_also_after_redirects(server):
  url = f'http://127.0.0.1:{server.server_port}'
  assert fetch(f'{url}/a b?c=ü', LOCAL) == CONTENT
  assert server.hosts[-1].decode() == url.removeprefix('http://')
  assert fetch(f'{url}/to/{url}/to//x', LOCAL) == CONTENT
  assert refused(f'{url}/to//to//to//to//x') == 'too_many_redirects'


def test_a_local_server_is_refused_unless_a_test_allows_it(server):
  url = f'http://127.0.0.1:{server.server_port}/a'
  assert refused(url, FetchLimits()) == 'not_public'
  assert refused(url.replace('127.0.0.1', 'localhost'), FetchLimits()) == (
    'not_public'
  )


@pytest.mark.parametrize(
  'place',
  [
    'http://127.0.0.2/x',
    'http://[::1]/x',
    'http://[::ffff:127.0.0.1]/x',
    'http://2130706434/x',  # 127.0.0.2 as one number
    '//127.0.0.2/x',
  ],
)
def test_a_redirect_is_checked_like_the_first_address(server, place):
  url = f'http://127.0.0.1:{server.server_port}/to/{place}'
  assert refused(url) == 'not_public'


@pytest.mark.parametrize(
  'url',
  [
    'file:///etc/passwd',
    'ftp://host/a',
    'http://user:pass@host/a',
    'http:///a',
    'http://host:99999999/a',
    'gopher://host/',
    'not a url',
    'http://[x',
    'http://host/\ud800',
    '',
  ],
)
def test_other_addresses_are_refused(server, url):
  assert refused(url) == 'bad_url'
  if url.startswith(('file', 'ftp', 'gopher', 'http://[')):
    place = f'http://127.0.0.1:{server.server_port}/to/{url}'
    assert refused(place) == 'bad_url'


def test_the_checked_address_is_the_one_that_is_read(server, monkeypatch):
  """A name whose second answer is another address gains nothing."""
  resolve, asked = socket.getaddrinfo, []

  def rebinding(host, port, *args, **options):
    if host == 'rebinding.test':
      asked.append(host)
      host = '127.0.0.1' if len(asked) == 1 else '127.0.0.2'
    return resolve(host, port, *args, **options)

  monkeypatch.setattr(socket, 'getaddrinfo', rebinding)
  url = f'http://rebinding.test:{server.server_port}/a'
  assert fetch(url, LOCAL) == CONTENT
  assert asked == ['rebinding.test']
  assert server.hosts[-1].startswith(b'rebinding.test:')
  assert refused(url) == 'not_public'


def test_one_private_address_of_several_refuses_a_name(monkeypatch):
  def both(host, port, *args, **options):
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, '')
    return [(*entry, ('127.0.0.1', port)), (*entry, ('10.0.0.1', port))]

  monkeypatch.setattr(socket, 'getaddrinfo', both)
  assert refused('http://several.test/a') == 'not_public'


@pytest.mark.parametrize(
  ('place', 'reason'),
  [
    ('status/404', 'http_404'),
    ('status/500', 'http_500'),
    ('robots/noai', 'opted_out'),
    ('robots/bot: noindex, nofollow', 'opted_out'),
    ('long', 'too_large'),
    ('endless', 'too_large'),
  ],
)
def test_answers_that_are_not_used_have_a_reason(server, place, reason):
  place = place.replace(' ', '')
  assert refused(f'http://127.0.0.1:{server.server_port}/{place}') == reason


def test_other_rules_for_robots_do_not_matter(server):
  url = f'http://127.0.0.1:{server.server_port}/robots/nofollow'
  assert fetch(url, LOCAL) == CONTENT


def test_a_file_that_ends_early_is_truncated(server):
  limits = FetchLimits(is_allowed=LOCAL.is_allowed, seconds=5.0)
  url = f'http://127.0.0.1:{server.server_port}/long'
  assert refused(url, limits) == 'truncated'


def test_a_slow_server_costs_no_more_than_the_time(server):
  limits = FetchLimits(is_allowed=LOCAL.is_allowed, seconds=0.2)
  start = time.monotonic()
  url = f'http://127.0.0.1:{server.server_port}/slow'
  assert refused(url, limits) == 'timeout'
  assert time.monotonic() - start < 1.5


def test_a_server_that_does_not_answer_is_a_failed_connection():
  with socket.create_server(('127.0.0.1', 0)) as closed:
    port = closed.getsockname()[1]
  assert refused(f'http://127.0.0.1:{port}/a') == 'connection_failed'
  # A server without TLS cannot be read by https.
  assert refused(f'https://127.0.0.1:{port}/a') == 'connection_failed'


def test_the_time_is_that_of_all_addresses_together(monkeypatch):
  waits = []

  def many(host, port, *args, **options):
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, '')
    return [(*entry, ('127.0.0.1', port))] * 40

  def silent(address, timeout):
    waits.append(timeout)
    time.sleep(timeout)
    raise TimeoutError

  monkeypatch.setattr(socket, 'getaddrinfo', many)
  monkeypatch.setattr(socket, 'create_connection', silent)
  limits = FetchLimits(is_allowed=LOCAL.is_allowed, seconds=0.2)
  assert refused('http://many.test/a', limits) == 'timeout'
  assert 1 < len(waits) <= 4 and sum(waits) < 0.25


def test_a_handshake_has_the_time_that_is_left(monkeypatch):
  connect, given = socket.create_connection, []

  def late(address, timeout):
    time.sleep(0.3)
    found = connect(address, timeout)
    given.append(found)
    return found

  monkeypatch.setattr(socket, 'create_connection', late)
  public_fetch._tls()  # Reads the certificates of the system.
  limits = FetchLimits(is_allowed=LOCAL.is_allowed, seconds=0.6)
  with socket.create_server(('127.0.0.1', 0)) as silent:
    url = f'https://127.0.0.1:{silent.getsockname()[1]}/a'
    assert refused(url, limits) == 'timeout'
  assert 0 < given[0].gettimeout() <= 0.3
