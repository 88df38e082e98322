"""Download of one file from a public web address, as a bounded read.

Metadata of the web name any address, also those inside of a network. Only
public addresses are read: a name is resolved once, all its addresses are
checked, and the connection goes to the address that was checked, so that a
second answer of the name server has no effect. Each redirect is checked like
the first address. Proxies of the environment are not used.
"""

import dataclasses
import functools
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

_UNICAST = ipaddress.ip_network('2000::/3')
# Python 3.11 takes them for public: those of protocols (with metadata of Oracle
# and others), of relays of IPv6, and of the platform of Azure.
_REFUSED = tuple(
  map(
    ipaddress.ip_network,
    ('192.0.0.0/24', '192.88.99.0/24', '168.63.129.16/32'),
  )
)
_MAX_ADDRESSES = 4  # of a host that are tried
_PORTS = {'http': 80, 'https': 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 2**16
_AGENT = 'phenaki_jax'
# What the owners of pictures answer to programs that collect training data.
_OPTED_OUT = frozenset(('noai', 'noimageai', 'noindex', 'noimageindex'))


class FetchError(Exception):
  """A file that was not downloaded.

  Attributes:
    reason: short name under which such files are counted.
  """

  def __init__(self, reason: str):
    super().__init__(reason)
    self.reason = reason


def is_public(address: str) -> bool:
  """Return whether an IP address is a public one of a single host.

  IPv6 addresses that stand for an IPv4 address (mapped, 6to4, Teredo, NAT64)
  are not, as they may stand for any.
  """
  ip = ipaddress.ip_address(address.partition('%')[0])
  if isinstance(ip, ipaddress.IPv6Address):
    stands_for = ip.ipv4_mapped or ip.sixtofour or ip.teredo
    return ip in _UNICAST and ip.is_global and not stands_for
  is_refused = any(ip in network for network in _REFUSED)
  return ip.is_global and not ip.is_multicast and not is_refused


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchLimits:
  """Limits of one download.

  Attributes:
    max_bytes: of the file.
    seconds: for the download with its redirects. The resolution of names by
      the system is not interrupted.
    redirects: that are followed.
    is_allowed: whether an IP address may be read. Other rules than `is_public`
      are for tests; no command sets them.
  """

  max_bytes: int = 2**26
  seconds: float = 60.0
  redirects: int = 5
  is_allowed: Callable[[str], bool] = is_public


def fetch(url: str, limits: FetchLimits) -> bytes:
  """Download a file.

  Raises:
    FetchError: the reason is 'bad_url', 'unresolved', 'not_public',
      'connection_failed', 'timeout', 'too_many_redirects', 'http_404' (or
      another status), 'opted_out', 'too_large' or 'truncated'.
  """
  deadline = time.monotonic() + limits.seconds
  for _ in range(limits.redirects + 1):
    found = _get(url, limits, deadline)
    if isinstance(found, bytes):
      return found
    try:
      url = urllib.parse.urljoin(url, found)
    except ValueError as error:
      raise FetchError('bad_url') from error
  raise FetchError('too_many_redirects')


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Target:
  """The parts of a URL."""

  scheme: str
  host: str
  port: int
  place: str

  @property
  def host_header(self) -> str:
    name = f'[{self.host}]' if ':' in self.host else self.host
    is_usual = self.port == _PORTS[self.scheme]
    return name if is_usual else f'{name}:{self.port}'


def _parse(url: str) -> _Target:
  try:
    parts = urllib.parse.urlsplit(url.strip())
    host = (parts.hostname or '').rstrip('.')
    if not host.isascii():
      host = host.encode('idna').decode()
    port = parts.port or _PORTS[parts.scheme]
    place = urllib.parse.quote(parts.path or '/', "/%:@!$&'()*+,;=~")
    if parts.query:
      place += '?' + urllib.parse.quote(parts.query, "/?%:@!$&'()*+,;=~")
  except (ValueError, KeyError) as error:
    raise FetchError('bad_url') from error
  if not host or parts.username or parts.password:
    raise FetchError('bad_url')
  return _Target(scheme=parts.scheme, host=host, port=port, place=place)


def _addresses(target: _Target, limits: FetchLimits) -> list[str]:
  """Return the addresses of a host, of which all must be allowed."""
  try:
    found = socket.getaddrinfo(
      target.host, target.port, type=socket.SOCK_STREAM
    )
  except (OSError, ValueError) as error:
    raise FetchError('unresolved') from error
  addresses = [str(entry[4][0]) for entry in found]
  if not all(map(limits.is_allowed, addresses)):
    raise FetchError('not_public')
  return addresses


def _left(deadline: float) -> float:
  """Return the seconds until a deadline that has not passed."""
  left = deadline - time.monotonic()
  if left <= 0:
    raise FetchError('timeout')
  return left


@functools.cache
def _tls() -> ssl.SSLContext:
  return ssl.create_default_context()


def _connected(target: _Target, addresses: list[str], deadline: float) -> Any:
  """Connect to the first of some checked addresses that answers.

  An address that does not answer leaves time for the others.
  """
  addresses = addresses[:_MAX_ADDRESSES]
  for number, address in enumerate(addresses):
    share = _left(deadline) / (len(addresses) - number)
    try:
      # A number is not resolved again.
      raw = socket.create_connection((address, target.port), share)
    except OSError:
      continue
    try:
      if target.scheme == 'http':
        return raw
      context = _tls()
      raw.settimeout(_left(deadline))
      return context.wrap_socket(raw, server_hostname=target.host)
    except FetchError:
      raw.close()
      raise
    except (OSError, ValueError) as error:
      raw.close()
      _left(deadline)
      raise FetchError('connection_failed') from error
  _left(deadline)
  raise FetchError('connection_failed')


def _get(url: str, limits: FetchLimits, deadline: float) -> bytes | str:
  """Return the content of a URL, or where it redirects to."""
  target = _parse(url)
  addresses = _addresses(target, limits)
  connected = _connected(target, addresses, deadline)
  # Ends reads of a server that sends byte by byte.
  timer = threading.Timer(
    max(0.0, deadline - time.monotonic()),
    lambda: socket.socket.shutdown(connected, socket.SHUT_RDWR),
  )
  timer.daemon = True
  timer.start()
  connection = http.client.HTTPConnection(target.host, target.port)
  connection.sock = connected
  try:
    found = _exchange(connection, target, limits)
    # The end of the connection may be ours.
    if time.monotonic() >= deadline:
      raise FetchError('timeout')
    return found
  except (OSError, http.client.HTTPException, ValueError) as error:
    late = time.monotonic() >= deadline
    reason = 'timeout' if late else 'connection_failed'
    raise FetchError(reason) from error
  except FetchError as error:
    if time.monotonic() >= deadline:
      raise FetchError('timeout') from error
    raise
  finally:
    timer.cancel()
    connection.close()


def _exchange(
  connection: http.client.HTTPConnection, target: _Target, limits: FetchLimits
) -> bytes | str:
  """Send a request and read the answer."""
  connection.putrequest(
    'GET', target.place, skip_host=True, skip_accept_encoding=True
  )
  connection.putheader('Host', target.host_header)
  connection.putheader('User-Agent', _AGENT)
  connection.putheader('Accept-Encoding', 'identity')
  connection.endheaders()
  answer = connection.getresponse()
  if answer.status in _REDIRECTS and answer.getheader('Location'):
    return str(answer.getheader('Location'))
  if answer.status != 200:
    raise FetchError(f'http_{answer.status}')
  rules = answer.getheader('X-Robots-Tag', '').lower().replace(':', ',')
  if _OPTED_OUT & {rule.strip() for rule in rules.split(',')}:
    raise FetchError('opted_out')
  size = answer.length  # None if the server does not say it.
  if size is not None and size > limits.max_bytes:
    raise FetchError('too_large')
  content = bytearray()
  while chunk := answer.read1(_CHUNK):
    content += chunk
    if len(content) > limits.max_bytes:
      raise FetchError('too_large')
  if size is not None and len(content) < size:
    raise FetchError('truncated')
  return bytes(content)
