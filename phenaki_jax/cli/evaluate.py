"""Ask the oracle how well a model knows StoryWorld.

The model makes clips of prompts whose combinations of facts it has never seen,
stories in which facts change one or two at a time, and, with --image-only,
clips of concepts that only images have shown. The oracle reads the frames back
into facts. The tables are printed and written to the folder --out with the
same numbers as JSON and contact sheets of the best, worst and random samples.
"""

import argparse
import json
import pathlib
from typing import TYPE_CHECKING, Any

from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  from phenaki_jax.evaluation.storyworld import Setup
  from phenaki_jax.runs.open import StoryModel

EXAMPLES = """
  phenaki evaluate --out runs/reference_scores
  phenaki evaluate --model runs/story/generator --out runs/scores \\
    --prompts 100 --stories 10 --scenes 4
  phenaki evaluate --model runs/story/generator --out runs/image_only \\
    --prompts 0 --stories 0 --image-only
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the command's arguments."""
  parser.add_argument(
    '--model',
    metavar='DIR',
    help='a bundle, or the --workdir of a trained generator; the reference '
    'model that ships with the package when left out',
  )
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder for the results'
  )
  for name, default, what in (
    ('prompts', 200, 'clips to make; 0 for none'),
    ('stories', 20, 'stories to tell; 0 for none'),
    ('scenes', 8, 'scenes of each story'),
    ('image-only-prompts', 20, 'clips for each image-only concept'),
    ('batch-size', 16, 'clips made at once'),
    ('seed', 0, 'of prompts and samples'),
  ):
    parser.add_argument(
      f'--{name}', type=int, default=default, help=f'{what} (%(default)s)'
    )
  parser.add_argument(
    '--image-only',
    action='store_true',
    help='ask clips for concepts that only images have shown',
  )
  parser.add_argument(
    '--split',
    default='heldout',
    choices=('heldout', 'train', 'all'),
    help='combinations of facts that the clips are asked for (%(default)s)',
  )
  parser.add_argument(
    '--subset', help="part of StoryWorld; the model's own when left out"
  )
  for name, kind, what in (
    ('guidance', float, 'strength of the prompts, 0 for none'),
    ('steps', int, 'decoding steps'),
    ('temperature', float, 'softness of the draws, 0 for the likeliest'),
  ):
    parser.add_argument(f'--{name}', type=kind, help=what)


def run(args: argparse.Namespace) -> int:
  """Evaluate one model."""
  _check(args)
  from phenaki_jax import progress
  from phenaki_jax.evaluation import (
    storyworld,
    storyworld_report,
    storyworld_stories,
  )
  from phenaki_jax.runs import open as models

  model = models.load(args.model)
  setup = _setup(args, model)
  maker = model.sampler
  # As long as the model can go on in two windows from a context.
  new_frames = maker.clip_frames - model.defaults.context_frames
  frames_per_scene = 2 * new_frames
  found: dict[str, Any] = {}
  if args.prompts:
    with progress.bar(total=args.prompts, unit='clip', desc='clips') as bar:
      found['clips'] = storyworld.report_clips(
        maker,
        setup,
        prompts=args.prompts,
        split=args.split,
        on_done=bar.update,
      )
  if args.stories:
    with progress.bar(total=args.stories, unit='story', desc='stories') as bar:
      found['stories'] = storyworld_stories.report_stories(
        maker,
        setup,
        stories=args.stories,
        scenes=args.scenes,
        frames_per_scene=frames_per_scene,
        context_frames=model.defaults.context_frames,
        on_done=bar.update,
      )
  if args.image_only:
    concepts = len(storyworld.image_only_values(setup.subset))
    count = concepts * args.image_only_prompts
    with progress.bar(total=count, unit='clip', desc='image-only') as bar:
      found['image_only'] = storyworld.report_image_only(
        maker,
        setup,
        prompts=args.image_only_prompts,
        on_done=bar.update,
      )
  protocol = _protocol(args, model, setup, frames_per_scene)
  report = storyworld_report.Report(protocol=protocol, **found)
  _write(pathlib.Path(args.out), report)
  return 0


def _check(args: argparse.Namespace) -> None:
  for name in ('prompts', 'stories', 'seed'):
    if getattr(args, name) < 0:
      raise UserError(f'--{name} is {getattr(args, name)}; give 0 or more')
  for name in ('scenes', 'image_only_prompts', 'batch_size'):
    if getattr(args, name) < 1:
      flag = name.replace('_', '-')
      raise UserError(f'--{flag} is {getattr(args, name)}; give 1 or more')
  if not (args.prompts or args.stories or args.image_only):
    raise UserError(
      'nothing is asked for; give --prompts, --stories or --image-only'
    )
  out = pathlib.Path(args.out)
  if out.exists() and not out.is_dir():
    raise UserError(f'--out is {out}, which is a file; name a folder')


def _setup(args: argparse.Namespace, model: 'StoryModel') -> 'Setup':
  """Settle how the model is asked."""
  import dataclasses

  from phenaki_jax.evaluation.storyworld import Setup
  from phenaki_jax.storyworld import subset_named

  subset = args.subset or model.subset
  if not subset:
    raise UserError(
      f'{model.name} was not trained on StoryWorld, and the oracle reads '
      'nothing else; give --subset to try it all the same'
    )
  flags = {
    name: getattr(args, name)
    for name in ('guidance', 'steps', 'temperature')
    if getattr(args, name) is not None
  }
  return Setup(
    subset=subset_named(subset),
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=dataclasses.replace(model.defaults.settings, **flags),
    seed=args.seed,
    batch_size=args.batch_size,
  )


def _protocol(
  args: argparse.Namespace,
  model: 'StoryModel',
  setup: 'Setup',
  frames_per_scene: int,
) -> dict[str, Any]:
  """Say all that the numbers depend on."""
  import dataclasses

  import jax

  import phenaki_jax

  return {
    'model': model.name,
    'fingerprint': model.fingerprint,
    'subset': setup.subset.name,
    'split': args.split,
    'prompts': args.prompts,
    'stories': args.stories,
    'scenes': args.scenes,
    'frames_per_scene': frames_per_scene,
    'image_only_prompts': args.image_only_prompts if args.image_only else 0,
    'seed': setup.seed,
    'size': list(setup.size),
    'clip_frames': model.sampler.clip_frames,
    'context_frames': model.defaults.context_frames,
    'fps': setup.fps,
    'settings': dataclasses.asdict(setup.settings),
    'phenaki_jax': phenaki_jax.__version__,
    'jax': jax.__version__,
    'platform': jax.default_backend(),
  }


def _write(out: pathlib.Path, report: Any) -> None:
  """Print the tables and write everything."""
  from phenaki_jax.evaluation import storyworld_report
  from phenaki_jax.files.atomic import replace_file
  from phenaki_jax.media.png import write_png

  text = storyworld_report.to_markdown(report)
  numbers = json.dumps(storyworld_report.to_json(report), indent=2) + '\n'
  replace_file(out / 'storyworld.md', text.encode())
  replace_file(out / 'storyworld.json', numbers.encode())
  names = ['storyworld.md', 'storyworld.json']
  for name, sheet in storyworld_report.sheets(report):
    write_png(out / f'{name}.png', sheet, provenance=report.protocol)
    names.append(f'{name}.png')
  print(text)
  print('\n'.join(str(out / name) for name in names))
