"""Train on captioned images and uncaptioned clips, and measure text to clip.

    python benchmarks/uncaptioned_motion.py

In the clips the shape of the object decides its motion, which no caption tells
(Make-A-Video, arXiv 2209.14792). Images have captions and no motion. A model
then gets prompts like those captions. The oracle of StoryWorld tells whether
shape, colour and place of its clip are right, and of those that are, how often
the motion is that of the shape. For comparison the same model reads the prompt
in one stage, with layers over time and text at once; and another model was
trained on clips in which any shape has any motion, for which chance is a third.

One CPU core: about an hour. The command prints a table.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from phenaki_jax.cli.main import main as phenaki
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.runs.open import load
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.generate import ClipMaker
from phenaki_jax.storyworld import (
  SUBSETS,
  caption,
  sample_facts,
  write_img2dataset,
  write_webvid,
)

MOTIONS = {'circle': 'right', 'square': 'left', 'triangle': 'up'}
SUBSET = dataclasses.replace(
  SUBSETS['easy'],
  name='lawful',
  shapes=tuple(MOTIONS),
  motions=tuple(MOTIONS.values()),
  image_only={},
)
CONFIGS = pathlib.Path(__file__).resolve().parents[1] / 'configs'
_READ = ('shape', 'colour', 'place')
_BATCH = 10
_SIDE = 64  # of the files, whose colours are halved by their encoding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
  """What clips of prompts show.

  Attributes:
    clips: number of clips.
    right: share in which shape, colour and place are right.
    moving: share of those whose motion is that of the shape; NaN for none.
  """

  clips: int
  right: float
  moving: float


def write_data(
  folder: pathlib.Path, *, clips: int, images: int, shuffled: bool = False
) -> pathlib.Path:
  """Write clips and images, and return the folder of their manifest.

  Args:
    folder: to write to.
    clips: number of clips.
    images: number of images.
    shuffled: whether any shape has any motion.
  """
  subsets = [SUBSET]
  if not shuffled:
    subsets = [
      dataclasses.replace(SUBSET, shapes=(shape,), motions=(motion,))
      for shape, motion in MOTIONS.items()
    ]
  sources = []
  for number, subset in enumerate(subsets):
    place = folder / f'clips_{number}'
    count = clips // len(subsets)
    write_webvid(place, count, seed=number, subset=subset, size=_SIDE, fps=8)
    sources += ['--webvid', str(place)]
  place = folder / 'images'
  write_img2dataset(place, images, seed=9, subset=SUBSET, size=_SIDE)
  manifest = folder / 'manifest'
  sources += ['--img2dataset', str(place), '--out', str(manifest)]
  if phenaki(['data', 'build', *sources]):
    raise SystemExit('the manifest was not built')
  return manifest


def measure(
  maker: ClipMaker,
  *,
  size: tuple[int, int],
  fps: float | int,
  settings: SamplingSettings,
  prompts: int,
) -> Rates:
  """Make clips of prompts that tell no motion, and read them.

  Args:
    maker: makes the clips.
    size: height and width in pixels.
    fps: frames per second.
    settings: how to sample.
    prompts: number of clips.
  """
  rng = np.random.default_rng(0)
  world = StoryWorld(subset=SUBSET, fps=fps)
  asked = [sample_facts(rng, SUBSET, 'all', image=True) for _ in range(prompts)]
  right = moving = 0
  for start in range(0, prompts, _BATCH):
    batch = asked[start : start + _BATCH]
    frames = maker.clips(
      [caption(facts, rng, SUBSET) for facts in batch],
      size=size,
      seeds=range(start, start + len(batch)),
      settings=settings,
    )
    for facts, clip in zip(batch, frames, strict=True):
      found = world.read(clip).facts
      if all(found[name].value == getattr(facts, name) for name in _READ):
        right += 1
        moving += found['motion'].value == MOTIONS[facts.shape]
  return Rates(
    clips=prompts,
    right=right / prompts,
    moving=moving / right if right else float('nan'),
  )


def _train(kind: str, folder: pathlib.Path, *overrides: str) -> None:
  argv = ['train', '--config', str(CONFIGS / kind / 'tiny.py')]
  for text in overrides:
    argv += ['--set', text]
  if phenaki([*argv, '--workdir', str(folder)]):
    raise SystemExit(f'{folder} was not trained')


def to_markdown(rows: dict[str, Rates]) -> str:
  """Return the table."""
  lines = [
    '| model | clips | picture right | motion right |',
    '|---|--:|--:|--:|',
  ]
  lines += [
    f'| {name} | {row.clips} | {row.right:.2f} | {row.moving:.2f} |'
    for name, row in rows.items()
  ]
  return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
  """Write the data, train the models, and print the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument(
    '--workdir', type=pathlib.Path, default='runs/uncaptioned'
  )
  for name, number in (
    ('clips', 1200),
    ('images', 2400),
    ('tokenizer-steps', 2500),
    ('steps', 2000),
    ('prompts', 100),
  ):
    parser.add_argument(f'--{name}', type=int, default=number)
  args = parser.parse_args(argv)
  tokenizer = args.workdir / 'tokenizer'
  rows = {}
  for name in ('lawful', 'shuffled'):
    data, run = args.workdir / f'data_{name}', args.workdir / name
    if not (data / 'manifest').is_dir():
      is_shuffled = name == 'shuffled'
      write_data(
        data, clips=args.clips, images=args.images, shuffled=is_shuffled
      )
    source = {'layout': 'manifest', 'path': str(data / 'manifest')}
    shared = (
      f'data.sources={json.dumps([source])}',
      'data.continuation_share=0',
      'data.image_share=0.5',
      'data.batch_size=24',
      'data.frame_cache_bytes=1000000000',
    )
    # Both models have the tokenizer that saw the first data.
    if not tokenizer.is_dir():
      _train(
        'tokenizer', tokenizer, *shared, f'train.steps={args.tokenizer_steps}'
      )
    _train(
      'generator',
      run,
      *shared,
      f'train.steps={args.steps}',
      f'tokenizer_dir={tokenizer}',
      'data.clip_captions=False',
      'data.context_frames=1',
      'task.prediction_share=0.8',
      'task.prediction_frames=1',
    )
    model = load(run)
    makers = {'two stages': model.sampler}
    if name == 'lawful':
      makers['one stage'] = model.sampler.sampler
    for stages, maker in makers.items():
      rows[f'{name}, {stages}'] = measure(
        maker,
        size=model.defaults.size,
        fps=model.defaults.fps,
        settings=model.defaults.settings,
        prompts=args.prompts,
      )
      print(to_markdown(rows), flush=True)


if __name__ == '__main__':
  main()
