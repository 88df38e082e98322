import io
import os
import random
import tarfile

import pytest

from phenaki_jax.data.sources import tar_index

FORMATS = {
  'ustar': tarfile.USTAR_FORMAT,
  'gnu': tarfile.GNU_FORMAT,
  'pax': tarfile.PAX_FORMAT,
}


def archive(members, kind=tarfile.PAX_FORMAT):
  """Make a tar of (name, bytes) pairs and ready TarInfo objects."""
  target = io.BytesIO()
  with tarfile.open(fileobj=target, mode='w', format=kind) as tar:
    for member in members:
      if isinstance(member, tarfile.TarInfo):
        tar.addfile(member)
      else:
        info = tarfile.TarInfo(member[0])
        info.size = len(member[1])
        tar.addfile(info, io.BytesIO(member[1]))
  return target.getvalue()


def scan(data):
  return tar_index.scan(io.BytesIO(data), len(data))


def special(name, kind, link=''):
  info = tarfile.TarInfo(name)
  info.type, info.linkname = kind, link
  return info


@pytest.mark.parametrize('kind', FORMATS.values(), ids=FORMATS)
def test_every_member_is_found_where_tarfile_finds_it(kind):
  rng = random.Random(0)
  names = [f'{i:09d}.jpg' for i in range(20)]
  names += ['folder/a.b.json', 'x' * 90 + '.txt', 'y' * 80 + '/z.txt']
  if kind != tarfile.USTAR_FORMAT:
    names += ['long/' * 60 + 'name.jpg', 'schnee-ü.jpg']
  members = [(name, rng.randbytes(rng.randrange(2000))) for name in names]
  data = archive(members, kind)
  index = scan(data)
  found = {
    f'{key}.{extension}': data[offset : offset + size]
    for key, places in index.members.items()
    for extension, (offset, size) in places.items()
  }
  assert found == dict(members)
  assert not index.ignored


def test_other_members_than_regular_files_are_left_out_and_counted():
  data = archive(
    [
      ('good.jpg', b'1'),
      special('folder', tarfile.DIRTYPE),
      special('link.jpg', tarfile.SYMTYPE, '/etc/passwd'),
      special('hard.jpg', tarfile.LNKTYPE, 'good.jpg'),
      special('device.jpg', tarfile.CHRTYPE),
      special('pipe.jpg', tarfile.FIFOTYPE),
      ('../up.jpg', b'2'),
      ('/etc/root.jpg', b'3'),
      ('a/../../b.jpg', b'4'),
      ('good.jpg', b'5'),
    ]
  )
  index = scan(data)
  assert set(index.members) == {'good'}
  offset, size = index.members['good']['jpg']
  assert data[offset : offset + size] == b'1'
  assert index.ignored == {
    'not_a_regular_file': 4,
    'unsafe_name': 3,
    'repeated_name': 1,
  }


def test_a_sparse_file_is_left_out():
  info = tarfile.TarInfo('bomb.jpg')
  info.pax_headers = {'GNU.sparse.realsize': str(2**60)}
  index = scan(archive([info, ('good.jpg', b'1')]))
  assert index.ignored == {'not_a_regular_file': 1}
  assert 'jpg' in index.members['good']


def test_complete_members_of_a_truncated_archive_are_kept():
  data = archive([(f'{i}.jpg', bytes(1000)) for i in range(5)])
  index = scan(data[: 512 * 3 * 2 + 800])
  assert set(index.members) == {'0', '1'}
  assert index.ignored == {'truncated_archive': 1}


def test_damaged_headers_never_crash_or_lead_outside():
  rng = random.Random(0)
  good = archive(
    [('x' * 150 + f'{i}.jpg', rng.randbytes(700)) for i in range(6)]
  )
  for _ in range(300):
    data = bytearray(good)
    for _ in range(3):
      data[rng.randrange(len(data))] = rng.randrange(256)
    for places in scan(bytes(data)).members.values():
      for offset, size in places.values():
        assert 0 <= offset <= offset + size <= len(data)


def test_too_many_members_end_the_scan(monkeypatch):
  monkeypatch.setattr(tar_index, '_MAX_MEMBERS', 3)
  index = scan(archive([(f'{i}.jpg', b'') for i in range(5)]))
  assert len(index.members) == 3
  assert index.ignored == {'too_many_members': 1}


def test_index_is_stored_beside_the_shard_until_the_shard_changes(
  tmp_path, monkeypatch
):
  tar = tmp_path / '00000.tar'
  tar.write_bytes(archive([('a.jpg', b'1')]))
  first = tar_index.load(tar, fallback=None)
  assert (tmp_path / '00000.tar.index.json').is_file()

  with monkeypatch.context() as patch:
    patch.setattr(tar_index, 'scan', None)  # Must not be needed.
    assert tar_index.load(tar, fallback=None) == first

  tar.write_bytes(archive([('b.jpg', b'22')]))
  assert set(tar_index.load(tar, fallback=None).members) == {'b'}


def test_index_is_stored_elsewhere_if_the_folder_is_read_only(tmp_path):
  folder, other = tmp_path / 'shards', tmp_path / 'elsewhere'
  folder.mkdir()
  tar = folder / '00000.tar'
  tar.write_bytes(archive([('a.jpg', b'1')]))
  folder.chmod(0o555)
  try:
    index = tar_index.load(tar, fallback=other)
    assert tar_index.load(tar, fallback=None) == index
    assert os.listdir(folder) == ['00000.tar']
    assert len(os.listdir(other)) == 1
    assert tar_index.load(tar, fallback=other) == index
  finally:
    folder.chmod(0o755)


@pytest.mark.parametrize(
  'text',
  ['', '[]', '{}', '{"version": 1}', 'version'],
)
def test_an_invalid_stored_index_is_replaced(tmp_path, text):
  tar = tmp_path / '00000.tar'
  tar.write_bytes(archive([('a.jpg', b'1')]))
  index = tar_index.load(tar, fallback=None)
  kept = tmp_path / '00000.tar.index.json'
  bad = kept.read_text().replace('[512, 1]', '[512, 99999]')
  kept.write_text(bad if text == 'version' else text)
  assert tar_index.load(tar, fallback=None) == index


@pytest.mark.parametrize(
  'content, ignored',
  [
    (b'<html>not a tar</html>' * 100, {'damaged_archive': 1}),
    (archive([]), {}),
    (b'', {}),
  ],
)
def test_a_file_without_members_has_an_empty_index(tmp_path, content, ignored):
  tar = tmp_path / '00000.tar'
  tar.write_bytes(content)
  index = tar_index.load(tar, fallback=None)
  assert index == tar_index.TarIndex(members={}, ignored=ignored)


def test_parts_of_a_name_that_stand_for_the_same_folder_are_dropped():
  data = archive([('./a.jpg', b''), ('.//b/./c.jpg', b''), ('x/.', b'')])
  index = scan(data)
  assert set(index.members) == {'a', 'b/c'}
  assert index.ignored == {'unsafe_name': 1}
