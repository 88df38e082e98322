"""Compare how the stories of models drift, scene by scene.

    python benchmarks/context_noise.py --models runs/clean runs/noisy

Every model tells the same stories of 20 and of 60 scenes (--scenes), in which
one or two facts change from scene to scene. The command prints a table: facts
right in the first and in the last fifth of the scenes, the facts that never
changed in the last scene, smooth joins, seams (the change across a join in that
of the frames around it), sharpness and colours of the last fifth against the
first, and the CPU seconds of a story. docs/stories.md says how the models are
trained.

    python benchmarks/context_noise.py --models runs/midway \
      --contexts frames tokens

compares the paper's way, in which windows see frames that are encoded again,
with windows that carry on tokens. `--models lpc` is of the sprite world; it
reads a history, so that it carries on no tokens.
"""

import argparse
import dataclasses
import itertools
import time
from collections.abc import Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.clips import STORIES, Setup, draw_seed
from phenaki_jax.evaluation.score import StoryScore, mean, score_story
from phenaki_jax.evaluation.stories import film_scenes, make_story
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """The drift of a model over stories of one length.

  Attributes:
    model: name of the model.
    context: what windows see, 'frames' or 'tokens'.
    scenes: scenes of each story.
    first, last: share of the facts that are right in the first and the last
      fifth of the scenes.
    kept: share of the facts that never changed which the last scene shows.
    smooth: share of the joins without a jump.
    seam: mean change across a join, in that of the frames around it.
    sharpness: mean difference of neighbouring pixels in the last fifth, in that
      of the first.
    colour: distance between the mean colours of both, in [0, sqrt(3)].
    seconds: of the CPU for a story, without compilation.
  """

  model: str
  context: str
  scenes: int
  first: float
  last: float
  kept: float
  smooth: float
  seam: float
  sharpness: float
  colour: float
  seconds: float


def measure(
  model: Model,
  *,
  scenes: int,
  stories: int,
  context: str = 'frames',
  seed: int = 0,
) -> Row:
  """Tell stories of a number of scenes, and measure how they drift."""
  defaults = model.defaults
  world = model.world(defaults.fps)
  if world is None:
    raise UserError(f'{model.name} is of no world whose facts can be read')
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
  told = [dataclasses.replace(story, context=context) for story in told]
  # Three scenes have all shapes that are compiled.
  few = [dataclasses.replace(one, scenes=one.scenes[:3]) for one in told]
  film_scenes(model.sampler, few)
  start = time.process_time()
  films = film_scenes(model.sampler, told)
  seconds = time.process_time() - start
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
    context=context,
    scenes=scenes,
    first=_right(scores, slice(None, fifth)),
    last=_right(scores, slice(-fifth, None)),
    kept=mean(score.last_persistence for score in scores),
    smooth=mean(score.smoothness for score in scores),
    seam=mean(_seam(pieces) for pieces in films),
    sharpness=float(np.mean([_sharpness(b) / _sharpness(a) for a, b in parts])),
    colour=float(
      np.mean(
        [
          np.linalg.norm((b.mean((0, 1, 2)) - a.mean((0, 1, 2))) / 255)
          for a, b in parts
        ]
      )
    ),
    seconds=seconds / stories,
  )


def _seam(pieces: Sequence[np.ndarray], around: int = 4) -> float:
  """Return the mean change across joins, in that of the frames around."""
  frames = np.concatenate(pieces).astype(np.float32)
  change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
  found = []
  for end in np.cumsum([len(piece) for piece in pieces[:-1]]):
    near = np.r_[change[end - 1 - around : end - 1], change[end : end + around]]
    found.append(change[end - 1] / max(float(near.mean()), 1e-3))
  return float(np.mean(found))


def _right(scores: Sequence[StoryScore], part: slice) -> float:
  return mean(scene.mean for score in scores for scene in score.scenes[part])


def _sharpness(frames: np.ndarray) -> float:
  return float(np.abs(np.diff(frames.astype(np.float32), axis=2)).mean())


def to_markdown(rows: Sequence[Row]) -> str:
  """Return the table."""
  lines = [
    '| model | context | scenes | facts, first fifth | last fifth | kept '
    '| smooth joins | seams | sharpness | colour | CPU s per story |',
    '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
  ]
  lines += [
    f'| {row.model} | {row.context} | {row.scenes} | {row.first:.3f} | '
    f'{row.last:.3f} | {row.kept:.3f} | {row.smooth:.3f} | {row.seam:.2f} | '
    f'{row.sharpness:.2f} | {row.colour:.3f} | {row.seconds:.1f} |'
    for row in rows
  ]
  return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
  """Measure all models, and print the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--models', nargs='+', default=['storyworld'])
  parser.add_argument('--scenes', type=int, nargs='+', default=[20, 60])
  parser.add_argument('--stories', type=int, default=8)
  parser.add_argument(
    '--contexts', nargs='+', default=['frames'], choices=('frames', 'tokens')
  )
  args = parser.parse_args(argv)
  rows = []
  for place in args.models:
    model = load(place)
    for scenes, context in itertools.product(args.scenes, args.contexts):
      rows.append(
        measure(model, scenes=scenes, stories=args.stories, context=context)
      )
      print(rows[-1], flush=True)
  print(to_markdown(rows))


if __name__ == '__main__':
  main()
