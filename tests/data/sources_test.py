"""Data in buckets and on web servers give what local data give."""

import dataclasses
import errno
import io
import json
import pathlib
import shutil

import numpy as np
import pytest

from phenaki_jax.data import (
  build,
  check,
  config,
  ingest,
  isolation,
  manifest,
  move,
  pipeline,
  record_cache,
  schema,
)
from phenaki_jax.data.sources import (
  csv_rows,
  img2dataset,
  layouts,
  line_source,
  tar_index,
)
from phenaki_jax.data.token_cache import TokenCache, TokenExample
from phenaki_jax.errors import UserError
from phenaki_jax.files import remote

LAYOUTS = ('webvid', 'img2dataset', 'jsonl', 'stories')


@pytest.fixture(scope='module')
def folders(media, good_clips, good_images, tmp_path_factory):
  """Return a folder of data in each layout, one file of which is missing."""
  root = tmp_path_factory.mktemp('folders')
  clips = [(data, f'clip {i}') for i, data in enumerate(good_clips[:3])]
  media.webvid(root / 'webvid', [*clips, (None, 'missing')])
  images = [(data, f'image {i}', {}) for i, data in enumerate(good_images[:3])]
  media.shard(root / 'img2dataset', images)
  (root / 'jsonl' / 'deep').mkdir(parents=True)
  (root / 'jsonl' / 'deep' / 'a.mp4').write_bytes(good_clips[4])
  (root / 'jsonl' / 'b.jpg').write_bytes(good_images[4])
  lines = [
    {'file_name': name, 'text': name, 'punsafe': 0, 'pwatermark': 0}
    for name in ('deep/a.mp4', 'b.jpg')
  ]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (root / 'jsonl' / 'metadata.jsonl').write_text(text)
  (root / 'stories').mkdir()
  (root / 'stories' / 'film.mp4').write_bytes(good_clips[5])
  scenes = [
    {'prompt': f'scene {a}', 'start_frame': a, 'end_frame': a + 6}
    for a in (0, 6)
  ]
  film = {'story_id': 's', 'video': 'film.mp4', 'scenes': scenes}
  (root / 'stories' / 'stories.jsonl').write_text(json.dumps(film) + '\n')
  return root


def make(root, out, **fields):
  return build.build(
    [layouts.opener(name, f'{root}/{name}') for name in LAYOUTS],
    out,
    max_broken_share=0.5,
    **fields,
  )


def batch(path):
  """Return a batch of four clips and four images of a manifest."""
  source = config.SourceConfig(layout='manifest', path=str(path))
  data = config.DataConfig(
    sources=(source,),
    size=(16, 16),
    frames=3,
    batch_size=8,
    image_share=0.5,
    heldout_share=0.0,
    continuation_share=0.0,
    num_threads=0,
  )
  opened = pipeline.Pipeline(
    data, lambda text: np.ones(1, np.int32), tubelet=2, text_length=1
  )
  found = opened.batch(1)
  assert not opened.replaced
  return found


def assert_equal(one, other):
  for part, arrays in one.items():
    for name, array in arrays.items():
      np.testing.assert_array_equal(array, other[part][name])


def upload(folder, target):
  """Copy a local folder to a bucket."""
  for path in folder.rglob('*'):
    if path.is_file():
      name = path.relative_to(folder).as_posix()
      (target / name).write_bytes(path.read_bytes())


@pytest.fixture(scope='module')
def local(folders, tmp_path_factory):
  """Return the manifest of the folders, its reports and its batch."""
  out = tmp_path_factory.mktemp('local') / 'm'
  return out, make(folders, out), batch(out)


def counts(reports):
  return [dataclasses.replace(one, folder='') for one in reports]


def test_data_of_a_web_server_are_those_of_the_disk(
  folders, local, web, tmp_path
):
  shutil.copytree(folders, web.folder / 'data')
  reports = make(f'{web.url}/data', tmp_path / 'm')
  assert counts(reports) == counts(local[1])
  assert reports[0].broken == {'missing_file': 1}
  found = manifest.Manifest(tmp_path / 'm')
  assert found.hash == manifest.Manifest(local[0]).hash
  assert_equal(batch(tmp_path / 'm'), local[2])
  assert not list(check.find_problems(found))
  # An altered byte is noticed, as on a disk.
  path = web.folder / 'data' / 'jsonl' / 'b.jpg'
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  assert [problem.key for problem in check.find_problems(found)] == ['b.jpg']
  for record, reader in found.records():
    if record.key == 'b.jpg':
      with pytest.raises(schema.DecodeError, match='changed_file'):
        reader.read(record)
  # The manifest may itself be on the server.
  shutil.copytree(tmp_path / 'm', web.folder / 'm')
  assert len(manifest.Manifest(f'{web.url}/m')) == len(found)


def test_a_failure_of_the_network_ends_a_build_and_keeps_the_manifest(
  folders, web, tmp_path, monkeypatch
):
  monkeypatch.setattr(remote, '_PAUSE', 0.0)
  shutil.copytree(folders, web.folder / 'data')
  make(f'{web.url}/data', tmp_path / 'm')
  before = {path: path.read_bytes() for path in tmp_path.glob('m/*')}
  serve = web.handler.send_head

  def fails(handler):
    if not handler.path.endswith('0001.mp4'):
      return serve(handler)
    handler.send_error(503)
    return None

  monkeypatch.setattr(web.handler, 'send_head', fails)
  with pytest.raises(UserError, match=r'0001.mp4 cannot be read: .*run the'):
    make(f'{web.url}/data', tmp_path / 'm')
  assert {path: path.read_bytes() for path in tmp_path.glob('m/*')} == before


class Failing(io.RawIOBase):
  """A file on a disk that fails at its last byte."""

  def __init__(self, path):
    self._content, self._at = path.read_bytes(), 0

  def readable(self):
    return True

  def seekable(self):
    return True

  def seek(self, offset, whence=0):
    self._at = offset + (0, self._at, len(self._content))[whence]
    return self._at

  def readinto(self, buffer):
    found = self._content[:-1][self._at :][:20]
    if not found:
      raise OSError(errno.EIO, 'Input/output error')
    buffer[: len(found)] = found
    self._at += len(found)
    return len(found)


@pytest.mark.parametrize('name', ['webvid', 'jsonl', 'stories', 'tar', 'table'])
def test_a_file_of_many_rows_that_fails_ends_a_build(
  folders, name, tmp_path, monkeypatch
):
  """The rows that follow are no broken record."""

  def failing(path, *_):
    return io.BufferedReader(Failing(path), 20)

  layout = name if name in LAYOUTS else 'img2dataset'
  shutil.copytree(folders / layout, tmp_path / 'data')
  opener = layouts.opener(layout, str(tmp_path / 'data'))
  source = opener(tmp_path)
  if name == 'tar':
    (tmp_path / 'data' / '00000.tar.index.json').unlink(missing_ok=True)
    monkeypatch.setattr(
      tar_index, 'scan', lambda file, _: failing(pathlib.Path(file.name)).read()
    )
  for module in (csv_rows, line_source, img2dataset):
    if name != 'tar':
      monkeypatch.setattr(module, 'open_stream', failing)
  with pytest.raises(UserError, match='cannot be read.*Input/output error'):
    build.build([lambda _: source], tmp_path / 'm', max_broken_share=1.0)
  assert not (tmp_path / 'm').exists()


@pytest.mark.slow
def test_child_processes_read_from_a_web_server(folders, local, web, tmp_path):
  shutil.copytree(folders, web.folder / 'data')
  limits = isolation.Limits(seconds=60.0)
  reports = make(f'{web.url}/data', tmp_path / 'm', limits=limits)
  assert counts(reports) == counts(local[1])


def test_a_bucket_holds_data_manifests_and_sets(folders, local, bucket):
  upload(folders, bucket / 'data')
  out = bucket / 'manifest'
  reports = make('gs://bucket/data', str(out))
  assert counts(reports) == counts(local[1])
  assert manifest.Manifest(str(out)).hash == manifest.Manifest(local[0]).hash
  assert_equal(batch(out), local[2])
  settings = ingest.IngestConfig(size=(16, 16), encoding='png', rows_per_file=4)
  for _ in range(2):  # The second run finds all parts.
    account = ingest.ingest(str(out), 'gs://bucket/set', settings)
    assert account.kept == len(manifest.Manifest(str(out)))
  assert_equal(batch('gs://bucket/set'), local[2])


@pytest.mark.usefixtures('bucket')
def test_s3_holds_manifests_and_sets(local):
  content = str(local[0])
  settings = ingest.IngestConfig(size=(16, 16), encoding='png', rows_per_file=4)
  ingest.ingest(content, 's3://bucket/set', settings)
  assert_equal(batch('s3://bucket/set'), local[2])


def test_a_manifest_follows_its_data_into_a_bucket(folders, local, bucket):
  upload(folders, bucket / 'moved')
  upload(local[0], bucket / 'm')
  content = manifest.Manifest('gs://bucket/m')
  moved = move.repoint(content, 'gs://bucket/moved')
  assert set(moved.values()) == {f'gs://bucket/moved/{x}' for x in LAYOUTS}
  assert_equal(batch('gs://bucket/m'), local[2])


def test_a_refused_build_leaves_its_lists_in_the_bucket(folders, bucket):
  with pytest.raises(UserError, match='gs://bucket/m.refused'):
    build.build(
      [layouts.opener('webvid', f'{folders}/webvid')],
      'gs://bucket/m',
      max_broken_share=0.1,
    )
  found = (bucket / 'm.refused' / manifest.QUARANTINE).read_text()
  assert 'missing_file' in found and not (bucket / 'm').exists()


def test_results_are_not_written_to_a_web_server(local):
  with pytest.raises(UserError, match='http://host/out cannot be written to'):
    ingest.ingest(local[0], 'http://host/out', ingest.IngestConfig())


def test_a_cache_of_tokens_may_be_in_a_bucket(bucket, monkeypatch):
  monkeypatch.setattr(record_cache, 'STEPS_PER_FILE', 2)
  info = record_cache.CacheInfo(
    kind='tokens',
    settings={'seed': 0},
    details={'reencoded': False, 'grid': [1, 1, 2]},
    counts={'clips': 1},
    steps=3,
  )
  for _ in range(2):  # The second writer finds all files.
    writer = record_cache.CacheWriter('gs://bucket/cache', info)
    for start, stop in writer.missing:
      examples = [
        TokenExample(
          tokens=np.array([[[step, 7]]], np.uint16), caption='a', num_frames=1
        ).to_record()
        for step in range(start, stop)
      ]
      writer.write(start, {'clips': examples})
    writer.finish()
  assert not writer.missing
  cached = TokenCache('gs://bucket/cache').examples('clips', seed=0)
  assert [cached[i].tokens[0, 0, 0] for i in range(3)] == [0, 1, 2]
