"""Compare how the stories of models drift, scene by scene.

    python benchmarks/context_noise.py --models runs/clean runs/noisy

Every model tells the same stories of 20 and of 60 scenes (--scenes), in which
one or two facts change from scene to scene. The command prints a table: facts
right in the first and in the last fifth of the scenes, the facts that never
changed in the last scene, smooth joins, and sharpness and colours of the last
fifth against the first. docs/stories.md says how both models are trained.
"""

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np

from phenaki_jax.evaluation.clips import STORIES, Setup, draw_seed
from phenaki_jax.evaluation.score import StoryScore, mean, score_story
from phenaki_jax.evaluation.stories import film_scenes, make_story
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load
from phenaki_jax.storyworld import subset_named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """The drift of a model over stories of one length.

  Attributes:
    model: name of the model.
    scenes: scenes of each story.
    first, last: share of the facts that are right in the first and the last
      fifth of the scenes.
    kept: share of the facts that never changed which the last scene shows.
    smooth: share of the joins without a jump.
    sharpness: mean difference of neighbouring pixels in the last fifth, in that
      of the first.
    colour: distance between the mean colours of both, in [0, sqrt(3)].
  """

  model: str
  scenes: int
  first: float
  last: float
  kept: float
  smooth: float
  sharpness: float
  colour: float


def measure(model: Model, *, scenes: int, stories: int, seed: int = 0) -> Row:
  """Tell stories of a number of scenes, and measure how they drift."""
  defaults = model.defaults
  world = StoryWorld(subset=subset_named(model.subset), fps=defaults.fps)
  setup = Setup(
    world=world,
    size=defaults.size,
    fps=defaults.fps,
    settings=defaults.settings,
    seed=seed,
  )
  length = defaults.clip_frames - defaults.context_frames
  drawn, told = [], []
  for index in range(stories):
    rng = np.random.default_rng((seed, STORIES, index))
    drawn.append(world.draw_story(rng, scenes))
    told.append(
      make_story(
        drawn[-1],
        # One window a scene.
        [defaults.clip_frames] + [length] * (scenes - 1),
        setup,
        defaults.context_frames,
        draw_seed(rng),
      )
    )
  films = film_scenes(model.sampler, told)
  scores = [
    score_story(pieces, asked, world)
    for pieces, asked in zip(films, drawn, strict=True)
  ]
  fifth = max(1, scenes // 5)
  parts = [
    (np.concatenate(pieces[:fifth]), np.concatenate(pieces[-fifth:]))
    for pieces in films
  ]
  return Row(
    model=model.name,
    scenes=scenes,
    first=_right(scores, slice(None, fifth)),
    last=_right(scores, slice(-fifth, None)),
    kept=mean(score.last_persistence for score in scores),
    smooth=mean(score.smoothness for score in scores),
    sharpness=float(np.mean([_sharpness(b) / _sharpness(a) for a, b in parts])),
    colour=float(
      np.mean(
        [
          np.linalg.norm((b.mean((0, 1, 2)) - a.mean((0, 1, 2))) / 255)
          for a, b in parts
        ]
      )
    ),
  )


def _right(scores: Sequence[StoryScore], part: slice) -> float:
  return mean(scene.mean for score in scores for scene in score.scenes[part])


def _sharpness(frames: np.ndarray) -> float:
  return float(np.abs(np.diff(frames.astype(np.float32), axis=2)).mean())


def to_markdown(rows: Sequence[Row]) -> str:
  """Return the table."""
  lines = [
    '| model | scenes | facts, first fifth | last fifth | kept | smooth joins '
    '| sharpness | colour |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
  ]
  lines += [
    f'| {row.model} | {row.scenes} | {row.first:.3f} | {row.last:.3f} | '
    f'{row.kept:.3f} | {row.smooth:.3f} | {row.sharpness:.2f} | '
    f'{row.colour:.3f} |'
    for row in rows
  ]
  return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
  """Measure all models, and print the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--models', nargs='+', default=['storyworld'])
  parser.add_argument('--scenes', type=int, nargs='+', default=[20, 60])
  parser.add_argument('--stories', type=int, default=8)
  args = parser.parse_args(argv)
  rows = []
  for place in args.models:
    model = load(place)
    for scenes in args.scenes:
      rows.append(measure(model, scenes=scenes, stories=args.stories))
      print(rows[-1], flush=True)
  print(to_markdown(rows))


if __name__ == '__main__':
  main()
