"""Files of buckets and of web servers are read in parts, or copied."""

import pytest

from phenaki_jax.files import remote
from phenaki_jax.files.paths import data_path

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(params=['http', 'bucket'])
def path(request, monkeypatch):
  """Return the path of a remote file of `CONTENT`, of several blocks."""
  monkeypatch.setattr(remote, '_BLOCK', 2**16)
  if request.param == 'bucket':
    place = request.getfixturevalue('bucket') / 'a' / 'file.bin'
    place.write_bytes(CONTENT)
    return data_path(place)
  web = request.getfixturevalue('web')
  (web.folder / 'file.bin').write_bytes(CONTENT)
  return data_path(f'{web.url}/file.bin')


def part(path, start, size, most=10**9):
  return remote.read_part(path, start=start, size=size, most=most)


def test_a_whole_file_is_read(path):
  assert part(path, 0, -1) == CONTENT
  assert part(path, 0, -1, most=1000) == CONTENT[:1000]
  assert part(path, 0, 3000) == CONTENT[:3000]
  assert part(path, 0, 0) == b''


def test_a_part_is_read(path):
  assert part(path, 100_001, 5000) == CONTENT[100_001:105_001]
  assert part(path, len(CONTENT) - 5, 10) == CONTENT[-5:]


def test_a_file_is_read_in_order(path):
  with remote.open_stream(path) as file:
    assert file.readline(300) == CONTENT[:11]
    assert file.read(1000) == CONTENT[11:1011]
    assert file.read() == CONTENT[1011:]


def test_a_server_without_ranges_gives_whole_files_only(web, monkeypatch):
  monkeypatch.setattr(remote, '_PAUSE', 0.0)
  web.handler.has_ranges = False
  (web.folder / 'a').write_bytes(CONTENT)
  path = data_path(f'{web.url}/a')
  assert part(path, 0, -1) == CONTENT
  with pytest.raises(ConnectionError, match='range requests'):
    part(path, 1000, 10)


def test_a_missing_file_is_not_tried_again(path):
  with pytest.raises(FileNotFoundError):
    part(path.parent / 'none', 0, 10)


def test_a_failure_of_the_network_is_tried_again(web, monkeypatch):
  monkeypatch.setattr(remote, '_PAUSE', 0.0)
  (web.folder / 'a').write_bytes(b'content')
  left, serve = [2], web.handler.send_head

  def fails(handler):
    left[0] -= 1
    if left[0] < 0:
      return serve(handler)
    handler.send_error(503)
    return None

  monkeypatch.setattr(web.handler, 'send_head', fails)
  assert part(data_path(f'{web.url}/a'), 0, -1) == b'content'
  left[0] = 10**9
  with pytest.raises(ConnectionError, match='a cannot be read: .*503'):
    part(data_path(f'{web.url}/a'), 0, -1)


def test_a_copy_is_made_once_for_each_version(bucket):
  place = bucket / 'a' / 'file.bin'
  place.write_bytes(b'one')
  copy = remote.local_copy(place)
  with open(copy, 'rb') as file:
    assert file.read() == b'one'
  assert remote.local_copy(str(place)) == copy
  assert remote.local_copy(copy) == copy
  place.write_bytes(b'other')
  with open(remote.local_copy(place), 'rb') as file:
    assert file.read() == b'other'
  with pytest.raises(FileNotFoundError):
    remote.local_copy(bucket / 'none')


def test_a_copy_is_tried_again_and_then_is_an_error_of_the_run(
  bucket, monkeypatch
):
  monkeypatch.setattr(remote, '_PAUSE', 0.0)
  place = bucket / 'a' / 'file.bin'
  place.write_bytes(b'content')
  copy, left = remote._local_copy, [2]

  def fails(text):
    left[0] -= 1
    if left[0] >= 0:
      raise OSError('reset')
    return copy(text)

  monkeypatch.setattr(remote, '_local_copy', fails)
  with open(remote.local_copy(place), 'rb') as file:
    assert file.read() == b'content'
  left[0] = 10**9
  with pytest.raises(ConnectionError, match=r'file.bin cannot be read: reset'):
    remote.local_copy(place)
