"""Clips per second of one core: raw, re-encoded and cached data, and PyAV.

    python benchmarks/loader.py
    python benchmarks/loader.py --manifest runs/my_manifest --size 64

The files are those of a manifest, or clips of moving noise of 320 x 240 that
are made first. Each case loads batches of clips in one thread:

    decoded     PyAV alone decodes the same files from the start to the last
                frame that a batch needs
    pyav        the same, and converts the needed frames by `to_ndarray`
    one scaler  the same, by one scaler of one thread for each file
    resized     the same scaler resizes the needed frames to the size of the
                loader's clips, but cuts nothing off
    raw         the loader, from the files of the manifest
    re-encoded  the loader, from the set that `phenaki data ingest` wrote
    cached      the loader, from decoded frames in memory (frame_cache_bytes)
    tokens      records of a token cache with as many latent frames

The rates are per second of CPU time, and the cases take turns at each batch, so
that other programs on the machine disturb their ratios less. Two more are
frames of examples per second, which 8 threads load from the files beside a
thread that computes in Python: with 5 ms (Python's own) and 0.1 ms (the
loader's) after which a thread must let another one run. They need cores that no
other program uses.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import io
import json
import pathlib
import sys
import tempfile
import threading
import time

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from phenaki_jax.data import build, ingest, manifest, pipeline, schema
from phenaki_jax.data.config import DataConfig, SourceConfig
from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.sources import files, webvid
from phenaki_jax.data.token_cache import KIND, TokenCache, TokenExample
from phenaki_jax.media.mp4 import write_mp4

TUBELET = 2
FRAMES, FPS = 9, 8.0
ALONE = ('decoded', 'pyav', 'one scaler', 'resized')
FILMS = 16  # with different frames; the other files are copies


def make_manifest(folder, clips):
  """Write clips of moving noise in the WebVid layout, and a manifest.

  The order of a source with few files takes a millisecond per example, which
  that of a large one does not.
  """
  rng = np.random.default_rng(0)
  videos = folder / 'videos' / '0'
  videos.mkdir(parents=True)
  with open(folder / 'train.csv', 'w') as file:
    file.write('videoid,page_dir,name\n')
    for i in range(clips):
      path = videos / f'{i}.mp4'
      file.write(f'{i},0,clip {i}\n')
      if i >= FILMS:
        # A box that players skip makes it another file.
        box = (12).to_bytes(4, 'big') + b'free' + i.to_bytes(4, 'big')
        path.write_bytes((videos / f'{i % FILMS}.mp4').read_bytes() + box)
        continue
      noise = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
      large = noise.repeat(16, axis=0).repeat(16, axis=1)
      frames = np.stack([np.roll(large, 4 * t, axis=1) for t in range(24)])
      write_mp4(
        path, frames, fps=8, provenance={'notice': 'rendered'}, min_height=1
      )
  build.build([lambda _: webvid.WebVid(folder)], folder / 'manifest')
  return folder / 'manifest'


def make_tokens(folder, steps, batch, latent):
  """Write a cache of random tokens."""
  rng = np.random.default_rng(0)
  info = CacheInfo(
    kind=KIND,
    settings={},
    details={'grid': list(latent), 'reencoded': False},
    counts={'clips': batch},
    steps=steps,
  )
  folder.mkdir()
  writer = CacheWriter(folder, info)
  for start, stop in writer.missing:
    examples = [
      TokenExample(
        tokens=rng.integers(0, 8192, latent, dtype=np.uint16),
        caption='a clip',
        num_frames=FRAMES,
      ).to_record()
      for _ in range((stop - start) * batch)
    ]
    writer.write(start, {'clips': examples})
  writer.finish()
  return TokenCache(folder)


def rates(loads, steps, batch):
  """Return the clips per second of CPU time of each case."""
  spent = dict.fromkeys(loads, 0.0)
  for step in range(steps):
    for name, load in loads.items():
      began = time.process_time()
      load(step)
      spent[name] += time.process_time() - began
  return {name: steps * batch / seconds for name, seconds in spent.items()}


def rate_beside_busy(load, steps, batch, interval):
  """Return the frames per second that 8 threads load beside a busy one."""
  done = threading.Event()

  def compute():
    while not done.is_set():
      pass

  usual = sys.getswitchinterval()
  sys.setswitchinterval(interval)
  busy = threading.Thread(target=compute)
  busy.start()
  try:
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      list(pool.map(load, range(steps)))
    return steps * batch * FRAMES / (time.monotonic() - start)
  finally:
    done.set()
    busy.join()
    sys.setswitchinterval(usual)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
  """A part of a file, and the times of the frames that a batch needs of it."""

  path: pathlib.Path
  offset: int
  size: int
  times: np.ndarray


def parts_of(content, loader, step):
  """Return what a batch needs of its files."""
  dataset = loader._examples['clips']._datasets[0]
  total = loader.composition.num_clips
  found = []
  for index in range(step * total, (step + 1) * total):
    row = int(dataset._rows[int(dataset._order[index])])
    record = content[row]
    position = np.random.default_rng((0, 0, index)).random()
    request = schema.ExampleRequest(
      size=loader.config.size,
      frames=FRAMES,
      fps=FPS,
      tubelet=TUBELET,
      position=position,
    )
    found.append(
      Part(
        path=content.reader(row).folder / record.path,
        offset=record.offset,
        size=record.size,
        times=files.clip_times(record, request),
      )
    )
  return found


def by_array(frame, reformatter):
  """Convert a frame as most programs do."""
  frame.to_ndarray(format='rgb24')


def by_one_scaler(frame, reformatter):
  """Convert a frame with the least work."""
  reformatter.reformat(frame, format='rgb24', threads=1).to_ndarray()


def by_resizing(frame, reformatter, size):
  """Convert a frame to a smaller one, of the quality that the loader has."""
  flags = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT
  reformatter.reformat(
    frame, size, size, 'rgb24', interpolation=flags, threads=1
  ).to_ndarray()


def decode_alone(parts, convert=None):
  """Decode what a batch needs with PyAV alone."""
  for part in parts:
    with open(part.path, 'rb') as file:
      file.seek(part.offset)
      data = file.read(part.size)
    reformatter = VideoReformatter()
    with av.open(io.BytesIO(data)) as container:
      stream = container.streams.video[0]
      stream.codec_context.thread_count = 1
      shown = 0
      for frame in container.decode(stream):
        if frame.time >= part.times[shown]:
          if convert:
            convert(frame, reformatter)
          shown = int(np.searchsorted(part.times, frame.time, side='right'))
          if shown >= len(part.times):
            break


def main():
  """Print one JSON object."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--manifest')
  parser.add_argument('--clips', type=int, default=512)
  parser.add_argument('--size', type=int, default=64)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--steps', type=int, default=8)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    path = args.manifest or make_manifest(folder / 'made', args.clips)
    ingest.ingest(
      path, folder / 'set', ingest.IngestConfig(size=(args.size, args.size))
    )

    def config(path, **fields):
      return DataConfig(
        sources=(SourceConfig(layout='manifest', path=str(path)),),
        size=(args.size, args.size),
        frames=FRAMES,
        batch_size=args.batch,
        image_share=0.0,
        continuation_share=0.0,
        heldout_share=0.0,
        num_threads=0,
        **fields,
      )

    def opened(data, **options):
      return pipeline.Pipeline(
        data,
        lambda text: np.ones(1, np.int32),
        tubelet=TUBELET,
        text_length=1,
        **options,
      )

    raw, packed = opened(config(path)), opened(config(folder / 'set'))
    cached = opened(config(path, frame_cache_bytes=2**32))
    side = max(1, args.size // 8)
    latent = (1 + (FRAMES - 1) // TUBELET, side, side)
    cache = make_tokens(folder / 'tokens', args.steps, args.batch, latent)
    tokens = opened(dataclasses.replace(config(path)), cache=cache)
    content = manifest.Manifest(path)
    needed = [parts_of(content, raw, step) for step in range(args.steps)]
    for step in range(args.steps):
      cached.batch(step)
      raw.batch(step)  # The hash of a file is checked once per process.
    loads = {
      'decoded': lambda step: decode_alone(needed[step]),
      'pyav': lambda step: decode_alone(needed[step], by_array),
      'one scaler': lambda step: decode_alone(needed[step], by_one_scaler),
      'resized': lambda step: decode_alone(
        needed[step], functools.partial(by_resizing, size=args.size)
      ),
      'raw': raw.batch,
      're-encoded': packed.batch,
      'cached': cached.batch,
      'tokens': tokens.batch,
    }
    rounded = rates(loads, args.steps, args.batch).items()
    found = {name: round(value, 1) for name, value in rounded}
    for interval in (5e-3, 1e-4):
      speed = rate_beside_busy(raw.batch, args.steps, args.batch, interval)
      found[f'frames/s beside a busy thread, {1e3 * interval:g} ms'] = round(
        speed, 1
      )
  for name in ALONE:
    found[f'raw / {name}'] = round(found['raw'] / found[name], 3)
  print(json.dumps(found, indent=1))
  return 0


if __name__ == '__main__':
  sys.exit(main())
