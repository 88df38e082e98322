"""Measure the memory and CPU time of metadata: builds, manifests, checks.

Every case runs in a new process. Its metadata are synthetic: nearly all rows
are left out without decoding, because their file is missing or their score is
too high, so the cost is that of the metadata alone. The peak includes the
memory of Python and its modules. The benchmark fails if a case with any number
of rows needs more than 300 MB.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow
import pyarrow.parquet

LIMIT_MB = 300
SHARDS = 100
ROWS_PER_PAGE = 50
ROWS_PER_WRITE = 10_000
READS = 10_000  # random rows that are read of a manifest
CAPTION = 'a red circle moves to the left over a green field at night {:08d}'


def main() -> int:
  """Print a table or JSON; return 1 if a limit was exceeded, otherwise 0."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--rows', type=int, default=1_000_000)
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  parser.add_argument('--case', choices=CASES, action='append')
  parser.add_argument('--run', metavar='FOLDER', help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.run:
    print(json.dumps(run(options.case[0], pathlib.Path(options.run))))
    return 0
  found = []
  for case in options.case or CASES:
    with tempfile.TemporaryDirectory() as folder:
      CASES[case][0](pathlib.Path(folder), options.rows)
      command = [sys.executable, __file__, '--case', case, '--run', folder]
      done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    measured = json.loads(done.stdout)
    rate = options.rows / measured['cpu']
    found.append({'case': case, 'rows': options.rows, 'rate': rate, **measured})
    if not options.json:
      print(
        '{case:12} {rows:12,} rows {cpu:9.1f} s CPU {mb:7.0f} MB '
        '{rate:12,.0f} rows/s of CPU'.format(**found[-1]),
        flush=True,
      )
  if options.json:
    print(json.dumps(found))
  return int(any(row['mb'] > LIMIT_MB for row in found))


def run(case: str, folder: pathlib.Path) -> dict[str, float]:
  """Run a case in this process.

  Returns:
    Seconds of CPU and of wall-clock time, and the peak memory in MB.
  """
  start = time.perf_counter()
  CASES[case][1](folder)
  used = resource.getrusage(resource.RUSAGE_SELF)
  return {
    'cpu': used.ru_utime + used.ru_stime,
    'wall': time.perf_counter() - start,
    'mb': used.ru_maxrss / 1024,
  }


def make_webvid(folder: pathlib.Path, rows: int) -> None:
  """Write a CSV file of many rows, of which only the first has its video."""
  with open(folder / 'results_train.csv', 'w') as file:
    file.write('videoid,contentUrl,duration,page_dir,name\n')
    for i in range(rows):
      page, url = f'{i // ROWS_PER_PAGE:06d}', f'https://example.com/{i}.mp4'
      file.write(f'{i:08d},{url},PT00H00M06S,{page},{CAPTION.format(i)}\n')
  make_video(folder / 'videos' / '000000' / '00000000.mp4')


def make_flat(folder: pathlib.Path, rows: int) -> None:
  """Write a page folder for every 500 rows, with one empty video each."""
  pages = max(1, rows // 500)
  with open(folder / 'results_train.csv', 'w') as file:
    file.write('videoid,page_dir,name\n')
    for i in range(pages):
      file.write(f'{i:08d},{i:06d},{CAPTION.format(i)}\n')
      (folder / f'{i:06d}').mkdir()
      (folder / f'{i:06d}' / f'{i:08d}.mp4').touch()
  make_video(folder / '000000' / '00000000.mp4')


def make_video(path: pathlib.Path) -> None:
  """Write a short video."""
  from phenaki_jax.media.mp4 import write_mp4

  path.parent.mkdir(parents=True, exist_ok=True)
  frames = np.zeros((9, 32, 32, 3), np.uint8)
  write_mp4(
    path, frames, fps=8, provenance={'notice': 'rendered'}, min_height=1
  )


def make_img2dataset(folder: pathlib.Path, rows: int) -> None:
  """Write shards of empty images; only the first has pixels and is safe."""
  import io
  import tarfile

  from PIL import Image

  target = io.BytesIO()
  Image.new('RGB', (64, 64)).save(target, 'JPEG')
  size = -(-rows // SHARDS)
  for shard in range(SHARDS):
    keys = [f'{shard:05d}{i:06d}' for i in range(size)]
    table = pyarrow.table(
      {
        'key': keys,
        'caption': [CAPTION.format(i) for i in range(size)],
        'url': [f'https://example.com/{key}.jpg' for key in keys],
        'status': ['success'] * size,
        'punsafe': np.full(size, 0.9) if shard else np.linspace(0.4, 1, size),
        'pwatermark': np.zeros(size),
      }
    )
    pyarrow.parquet.write_table(table, folder / f'{shard:05d}.parquet')
    with open(folder / f'{shard:05d}.tar', 'wb') as file:
      for key in keys:
        info = tarfile.TarInfo(f'{key}.jpg')
        info.size = len(target.getvalue()) if key == '0' * 11 else 0
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        if info.size:
          file.write(target.getvalue() + bytes(-info.size % 512))
      file.write(bytes(1024))


def make_manifest(folder: pathlib.Path, rows: int) -> None:
  """Write a manifest whose videos are missing."""
  from phenaki_jax.data import manifest, records, schema
  from phenaki_jax.files.digests import file_digest

  path = folder / manifest.RECORDS
  rng = np.random.default_rng(0)
  with records.RecordWriter(path) as writer:
    for i in range(rows):
      page, name = f'{i // ROWS_PER_PAGE:06d}', f'{i:08d}'
      record = schema.Record(
        key=f'{page}__{name}',
        kind=schema.IMAGE if i % 2 else schema.CLIP,
        caption=CAPTION.format(i),
        path=f'videos/{page}/{name}.mp4',
      )
      info = schema.MediaInfo(
        content_hash=rng.bytes(32).hex(),
        width=64,
        height=48,
        num_frames=49,
        duration=6.125,
      )
      writer.add(0, record, info)
  header = {
    'version': manifest.VERSION,
    'hash': writer.content_hash(),
    'records_sha256': file_digest(path),
    'clips': -(-rows // 2),
    'images': rows // 2,
    'sources': [{'layout': 'webvid', 'folder': str(folder)}],
  }
  (folder / manifest.HEADER).write_text(json.dumps(header))


def run_webvid(folder: pathlib.Path) -> None:
  """Build a manifest of a folder in the WebVid layout."""
  from phenaki_jax.data import build
  from phenaki_jax.data.sources import webvid

  def open_source(indices: pathlib.Path) -> webvid.WebVid:
    return webvid.WebVid(folder)

  build.build([open_source], folder / 'manifest', max_broken_share=1)


def run_img2dataset(folder: pathlib.Path) -> None:
  """Build a manifest of a folder in the img2dataset layout."""
  from phenaki_jax.data import build
  from phenaki_jax.data.sources import img2dataset

  def open_source(indices: pathlib.Path) -> img2dataset.Img2Dataset:
    return img2dataset.Img2Dataset(folder, index_folder=indices)

  build.build([open_source], folder / 'manifest', max_broken_share=1)


def run_manifest(folder: pathlib.Path) -> None:
  """Open a manifest, divide it, and read random rows, as training does."""
  from phenaki_jax.data import manifest, schema

  content = manifest.Manifest(folder)
  for kind in (schema.CLIP, schema.IMAGE):
    rows = content.rows(kind, heldout_share=0.02)
    for row in np.random.default_rng(0).choice(rows, READS // 2):
      content.reader(int(row))
      assert content[int(row)].kind == kind


def run_hash(folder: pathlib.Path) -> None:
  """Compute the hash of a manifest again."""
  from phenaki_jax.data import manifest

  content = manifest.Manifest(folder)
  assert content.recomputed_hash() == content.hash


def run_check(folder: pathlib.Path) -> None:
  """Compare a manifest with its data, of which all is missing."""
  from phenaki_jax.data import check, manifest

  content = manifest.Manifest(folder)
  problems = sum(1 for _ in check.find_problems(content))
  assert problems == len(content)


CASES = {
  'webvid': (make_webvid, run_webvid),
  'flat': (make_flat, run_webvid),
  'img2dataset': (make_img2dataset, run_img2dataset),
  'manifest': (make_manifest, run_manifest),
  'hash': (make_manifest, run_hash),
  'check': (make_manifest, run_check),
}


if __name__ == '__main__':
  sys.exit(main())
