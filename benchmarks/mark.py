"""Measure how often the invisible mark is found, and found where it is not.

    python benchmarks/mark.py
    python benchmarks/mark.py --model storyworld --clips 50

Clips of StoryWorld (with --model, clips that a model generates of held-out
prompts) are written as `phenaki story --mark` writes them, with the visible
label over a corner, and without the mark. Both films are re-encoded with
H.264 at several qualities (crf), and at half of their size. The command prints
a table: the share of the films that are found, the share of unmarked films that
are, and their largest score.
"""

import argparse
import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import av
import numpy as np

from phenaki_jax import storyworld
from phenaki_jax.media import mark
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.runs.open import load

FRAMES = 9
CRF = (18, 23, 28, 33)


def drawn_clips(count: int) -> Iterator[np.ndarray]:
  """Yield held-out clips of StoryWorld."""
  for number in range(count):
    yield storyworld.training_clip(
      0, number, 'full', frames=FRAMES, size=(64, 64), fps=8, split='heldout'
    ).frames


def made_clips(place: str, count: int) -> Iterator[np.ndarray]:
  """Yield clips of held-out prompts that a model makes."""
  model = load(place)
  defaults = model.defaults
  for number in range(count):
    prompt = storyworld.training_clip(
      *(0, number, model.subset),
      frames=FRAMES,
      size=defaults.size,
      fps=defaults.fps,
      split='heldout',
    ).caption
    yield model.sampler.clips(
      [prompt], size=defaults.size, seeds=[number], settings=defaults.settings
    )[0]


def encode_again(
  path: pathlib.Path, out: pathlib.Path, *, crf: int, halve: bool
) -> None:
  """Decode a film, and write it with other settings."""
  with av.open(str(path)) as source, av.open(str(out), 'w') as target:
    given = source.streams.video[0]
    stream = target.add_stream('libx264', rate=given.average_rate)
    scale = 2 if halve else 1
    stream.width, stream.height = given.width // scale, given.height // scale
    stream.pix_fmt, stream.options = 'yuv420p', {'crf': str(crf)}
    for frame in source.decode(video=0):
      smaller = frame.reformat(width=stream.width, height=stream.height)
      smaller.pts = None
      target.mux(stream.encode(smaller))
    target.mux(stream.encode(None))


def measure(clips: Sequence[np.ndarray], strength: int) -> list[str]:
  """Return the lines of the table."""
  cases = {'as written': None}
  cases |= {f'crf {crf}': (crf, False) for crf in CRF}
  cases |= {f'crf {crf}, half size': (crf, True) for crf in (23, 28)}
  scores: dict[tuple[str, bool], list[float]] = {}
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    film, again = folder / 'film.mp4', folder / 'again.mp4'
    for clip in clips:
      for is_marked in (True, False):
        frames = [
          mark.embed(frame, strength=strength if is_marked else 0)
          for frame in clip
        ]
        write_mp4(film, frames, fps=8, provenance={})
        for name, settings in cases.items():
          path = film
          if settings:
            path = again
            encode_again(film, again, crf=settings[0], halve=settings[1])
          found = scores.setdefault((name, is_marked), [])
          found.append(mark.score_film(path))
  lines = [
    '| film | found | lowest score | without mark: found | highest score |',
    '|---|---:|---:|---:|---:|',
  ]
  for name in cases:
    marked, plain = (np.array(scores[name, one]) for one in (True, False))
    lines.append(
      f'| {name} | {np.mean(marked >= mark.THRESHOLD):.3f} | '
      f'{marked.min():.1f} | {np.mean(plain >= mark.THRESHOLD):.3f} | '
      f'{plain.max():.1f} |'
    )
  return lines


def main(argv: Sequence[str] | None = None) -> None:
  """Run the benchmark."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--clips', type=int, default=200)
  parser.add_argument('--model', help='use clips that this model makes')
  parser.add_argument('--strength', type=int, default=mark.STRENGTH)
  args = parser.parse_args(argv)
  if args.model:
    clips = list(made_clips(args.model, args.clips))
  else:
    clips = list(drawn_clips(args.clips))
  print('\n'.join(measure(clips, args.strength)))


if __name__ == '__main__':
  main()
