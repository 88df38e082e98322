"""Make a long story with the reference, and measure memory, time and drift.

    python benchmarks/long_story.py                  # 2,400 frames
    python benchmarks/long_story.py --out runs/short --frames 120
    python benchmarks/long_story.py --frames 28800 --steps 1    # an hour

The story has 48 frames a scene, in which one or two facts of StoryWorld change.
Its film, its drift report and its figure are written by the code of `phenaki
story`; the resident memory is noted after each window. The command prints one
row of JSON: seconds, frames per second, the memory at a tenth of the story and
at its end, and the drift.
"""

import argparse
import json
import pathlib
import resource
import time
from typing import Any

import numpy as np

from phenaki_jax.runs.open import load
from phenaki_jax.stories import outputs
from phenaki_jax.stories.story import Scene, Story, resolve
from phenaki_jax.storyworld import sample_story, subset_named

FRAMES_PER_SCENE = 48


def write_prompts(
  frames: int, subset: str, seed: int, steps: int | None = None
) -> Story:
  """Return a story of about one scene for each `FRAMES_PER_SCENE` frames."""
  count = max(1, frames // FRAMES_PER_SCENE)
  rng = np.random.default_rng(seed)
  drawn = sample_story(rng, subset_named(subset), count, 1, 'all')
  lengths = np.diff(np.linspace(0, frames, count + 1).round().astype(int))
  scenes = tuple(
    Scene(prompt=scene.prompt, frames=int(length), steps=steps)
    for scene, length in zip(drawn.scenes, lengths, strict=True)
  )
  return Story(scenes=scenes, seed=seed)


class Watched:
  """Makes the clips of a sampler, and notes the memory after each."""

  def __init__(self, sampler: Any) -> None:
    self._sampler = sampler
    self.megabytes: list[float] = []

  def __getattr__(self, name: str) -> Any:
    return getattr(self._sampler, name)

  def clips(self, *args: Any, **options: Any) -> np.ndarray:
    """Make clips, and note the memory."""
    frames = self._sampler.clips(*args, **options)
    self.megabytes.append(resident())
    return frames


def resident() -> float:
  """Return the memory of this process in megabytes."""
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * resource.getpagesize() / 1e6


def measure(
  out: pathlib.Path,
  *,
  frames: int,
  seed: int,
  steps: int | None = None,
  model_dir: str | None = None,
) -> dict[str, Any]:
  """Make the story, of at least 64 frames, and return the row."""
  model = load(model_dir)
  story = write_prompts(frames, model.subset, seed, steps)
  resolved = resolve(story, model.defaults)
  maker = Watched(model.sampler)
  start = time.perf_counter()
  film, *_ = outputs.write_story(
    maker,
    resolved,
    out / 'story.mp4',
    made_by=model.provenance,
    judge=model.judge(resolved),
  )
  seconds = time.perf_counter() - start
  record = json.loads(film.with_suffix('.json').read_text())
  count = len(maker.megabytes)
  return {
    'frames': frames,
    'scenes': len(story.scenes),
    'seconds': round(seconds, 1),
    'frames_per_second': round(frames / seconds, 2),
    'megabytes_at_a_tenth': round(maker.megabytes[count // 10]),
    'megabytes_at_half': round(maker.megabytes[count // 2]),
    'megabytes_at_the_end': round(maker.megabytes[-1]),
    'drift': record['drift'],
  }


def main(argv: list[str] | None = None) -> None:
  """Run the benchmark."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--out', type=pathlib.Path, default='runs/long')
  parser.add_argument('--frames', type=int, default=2400)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--steps', type=int, help="in place of the model's")
  parser.add_argument('--model', help='in place of the reference')
  args = parser.parse_args(argv)
  row = measure(
    args.out,
    frames=args.frames,
    seed=args.seed,
    steps=args.steps,
    model_dir=args.model,
  )
  print(json.dumps(row, indent=2))


if __name__ == '__main__':
  main()
