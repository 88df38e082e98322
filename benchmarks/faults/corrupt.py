"""Build a manifest of thousands of damaged files, and alter a finished one.

    python benchmarks/faults/corrupt.py --samples 10000

Damaged clips and images are made of a few good ones: bits are flipped, files
are cut off, overwritten with zeros, spliced with others, given wrong headers,
huge sizes and wrong types, or emptied. The program prints the account of the
build, as a table of the damage. It fails if the numbers do not add up, or if a
good file is not kept.
Then it alters single bytes of the files of a good manifest, and fails if a
reader returns anything from an altered file.
"""

import argparse
import collections
import io
import json
import pathlib
import re
import struct
import sys
import tempfile
import time
import zlib

import numpy as np
from PIL import Image

from phenaki_jax.data import build, isolation, manifest, schema
from phenaki_jax.data.sources import jsonl
from phenaki_jax.media.mp4 import write_mp4

GOOD = 10  # clips, and as many images
KINDS = (
  *('flip', 'truncate', 'zero', 'splice', 'header', 'bomb', 'type', 'empty'),
)


def make_good(folder):
  """Write good clips and images; return their names and contents."""
  rng = np.random.default_rng(0)
  found = {}
  for i in range(GOOD):
    frames = rng.integers(0, 256, (9, 40, 48, 3), dtype=np.uint8) // 2
    path = folder / f'good{i}.mp4'
    write_mp4(
      path, frames, fps=8, provenance={'notice': 'rendered'}, min_height=1
    )
    found[path.name] = path.read_bytes()
    target = io.BytesIO()
    kind = 'PNG' if i % 2 else 'JPEG'
    Image.fromarray(frames[0]).save(target, kind)
    found[f'good{i}.{"png" if i % 2 else "jpg"}'] = target.getvalue()
  for name, data in found.items():
    (folder / name).write_bytes(data)
  return found


def png_bomb(side):
  """Return a PNG that claims a size and has hardly any data."""

  def chunk(name, body):
    checksum = struct.pack('>I', zlib.crc32(name + body))
    return struct.pack('>I', len(body)) + name + body + checksum

  header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
  body = zlib.compress(bytes(100_000))
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', body)
    + chunk(b'IEND', b'')
  )


def damage(kind, data, other, rng):
  """Return the content of a file damaged in a way."""
  changed = bytearray(data)
  place = int(rng.integers(len(data)))
  if kind == 'flip':
    for at in rng.integers(0, len(data), rng.integers(1, 20)):
      changed[at] ^= 1 << int(rng.integers(8))
  elif kind == 'truncate':
    del changed[place:]
  elif kind == 'zero':
    length = min(int(rng.integers(1, 2000)), len(data) - place)
    changed[place : place + length] = bytes(length)
  elif kind == 'splice':
    changed[place:] = other[min(place, len(other) - 1) :]
  elif kind == 'header':
    changed[:64] = rng.bytes(64)
  elif kind == 'bomb':
    if data[:4] == b'\x89PNG' or data[:2] == b'\xff\xd8':
      return png_bomb(int(rng.choice([16_000, 65_535, 2**31 - 1])))
    # The sizes in the headers of an MP4 file become huge.
    for name in (b'avc1', b'tkhd', b'stts', b'stsz', b'mdhd'):
      at = changed.find(name)
      if at > 0:
        end = at + 8 + int(rng.integers(4, 40))
        changed[end : end + 4] = b'\x7f\xff\xff\xff'
  elif kind == 'type':
    return b'<html>' + rng.bytes(int(rng.integers(1, 3000)))
  elif kind == 'empty':
    return b''
  return bytes(changed)


def kind_of(name):
  """Return the damage of a file by its name."""
  return re.match('[a-z]+', name)[0]


def read_outcomes(folder):
  """Return what became of the files of each damage, by outcome."""
  found = collections.defaultdict(collections.Counter)
  content = manifest.Manifest(folder)
  for row in range(len(content)):
    found[kind_of(content[row].key)]['used'] += 1
  for name in (manifest.DROPPED, manifest.QUARANTINE):
    for line in (folder / name).read_text().splitlines():
      entry = json.loads(line)
      found[kind_of(entry['key'])][entry['reason']] += 1
  return found


def print_table(outcomes):
  """Print a row for each damage."""
  print('| damage | files | used | skipped, by reason |')
  print('| --- | --- | --- | --- |')
  for kind, counts in outcomes.items():
    skipped = ', '.join(
      f'{count} {reason}'
      for reason, count in sorted(counts.items(), key=lambda one: -one[1])
      if reason != 'used'
    )
    total, used = sum(counts.values()), counts.get('used', 0)
    print(f'| {kind} | {total} | {used} | {skipped} |')


def run_build(folder, samples, rng):
  """Build of damaged files; return the account and a list of faults."""
  good = make_good(folder)
  names = list(good)
  lines = [{'file_name': name, 'text': f'good {name}'} for name in names]
  for i in range(samples):
    name = names[i % len(names)]
    other = good[names[int(rng.integers(len(names)))]]
    kind = KINDS[i // len(names) % len(KINDS)]
    path = folder / f'{kind}{i:06d}.{name.rpartition(".")[2]}'
    path.write_bytes(damage(kind, good[name], other, rng))
    lines.append({'file_name': path.name, 'text': kind})
  text = ''.join(
    json.dumps(line | {'punsafe': 0, 'pwatermark': 0}) + '\n' for line in lines
  )
  (folder / 'metadata.jsonl').write_text(text)
  start = time.perf_counter()
  (report,) = build.build(
    [lambda _: jsonl.JsonLines(folder)],
    folder / 'manifest',
    max_broken_share=1.0,
    limits=isolation.Limits(seconds=60),
  )
  faults = []
  left_out = sum(report.filtered.values()) + sum(report.broken.values())
  if report.kept + left_out != len(lines):
    faults.append(f'{report} does not add up to {len(lines)} records')
  made = collections.Counter(kind_of(line['file_name']) for line in lines)
  outcomes = read_outcomes(folder / 'manifest')
  for kind, count in made.items():
    if outcomes[kind].total() != count:
      faults.append(f'{count} files of {kind}, but {outcomes[kind]}')
  content = manifest.Manifest(folder / 'manifest')
  kept = {content[row].key for row in range(len(content))}
  faults += [f'{name} is good and was not kept' for name in good.keys() - kept]
  return {
    'records': len(lines),
    'kept': report.kept,
    'filtered': report.filtered,
    'broken': report.broken,
    'outcomes': {kind: dict(outcomes[kind]) for kind in made},
    'seconds': round(time.perf_counter() - start, 1),
  }, faults


def run_alter(folder, samples, rng):
  """Alter bytes of the files of a manifest; return the account and faults."""
  good = make_good(folder)
  text = ''.join(
    json.dumps({'file_name': name, 'text': 'x', 'punsafe': 0, 'pwatermark': 0})
    + '\n'
    for name in good
  )
  (folder / 'metadata.jsonl').write_text(text)
  build.build([lambda _: jsonl.JsonLines(folder)], folder / 'manifest')
  content = manifest.Manifest(folder / 'manifest')
  request = schema.ExampleRequest(size=(16, 16), frames=3, fps=8.0)
  noticed, faults = collections.Counter(), []
  for i in range(samples):
    row = i % len(content)
    record = content[row]
    data = bytearray(good[record.path])
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path = folder / record.path
    path.write_bytes(data)
    try:
      content.reader(row).example(record, request)
      faults.append(f'an altered byte of {record.path} was not noticed')
    except schema.DecodeError as error:
      noticed[error.reason] += 1
    path.write_bytes(good[record.path])
  return {'altered': samples, 'noticed': dict(noticed)}, faults


def main():
  """Print one JSON object; return 1 if there is a fault."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--samples', type=int, default=10_000)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  found, faults = {}, []
  for run in (run_build, run_alter):
    with tempfile.TemporaryDirectory() as folder:
      rng = np.random.default_rng(args.seed)
      account, problems = run(pathlib.Path(folder), args.samples, rng)
    found |= account
    faults += problems
  print_table(found.pop('outcomes'))
  print(json.dumps(found | {'faults': faults}, indent=1))
  return int(bool(faults))


if __name__ == '__main__':
  sys.exit(main())
