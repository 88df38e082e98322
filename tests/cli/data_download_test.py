"""`phenaki data download`, as a user calls it."""

import functools

from phenaki_jax.cli import main
from phenaki_jax.data import download, public_fetch


def call(*words):
  return main.main(['data', *map(str, words)])


def test_download_refuses_addresses_of_the_local_network(web, tmp_path, capsys):
  (tmp_path / 'table.csv').write_text(
    f'contentUrl,name\n{web.url}/a.jpg,a\nhttp://10.0.0.1/b.jpg,b\n'
  )
  words = ('download', tmp_path / 'table.csv', '--out', tmp_path / 'out')
  assert call(*words, '--timeout', 5, '--rate', 1000) == 0
  said = capsys.readouterr().out
  assert '2 not_public' in said and '2 records' in said


def test_download_bounds_files_and_shards(web, tmp_path, monkeypatch, capsys):
  limits = functools.partial(
    public_fetch.FetchLimits, is_allowed=lambda address: address == '127.0.0.1'
  )
  monkeypatch.setattr(download.public_fetch, 'FetchLimits', limits)
  lines = ['contentUrl,name']
  for name, count in (('a.png', 90), ('b.png', 901), ('c.png', 800)):
    (web.folder / name).write_bytes(b'\x89PNG\r\n' + bytes(count))
    lines.append(f'{web.url}/{name},{name}')
  (tmp_path / 'table.csv').write_text('\n'.join(lines) + '\n')
  words = ('download', tmp_path / 'table.csv', '--out', tmp_path / 'out')
  bounds = ('--max-bytes', 900, '--rows-per-shard', 2, '--rate', 1000)
  assert call(*words, *bounds) == 0
  said = capsys.readouterr().out
  assert '2 success' in said and '1 too_large' in said
  assert sorted(path.name for path in (tmp_path / 'out').glob('*.tar')) == [
    *('00000.tar', '00001.tar')
  ]
