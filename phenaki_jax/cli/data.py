"""Build, check and look at the data that models are trained on.

A folder of clips in the WebVid layout, a folder of images in the img2dataset
layout and the built-in StoryWorld become one manifest, which a config names
among its data.sources. Every record is kept, or left out for a reason that is
counted in report.json.
"""

import argparse
import functools
import pathlib
from typing import TYPE_CHECKING

from phenaki_jax import progress
from phenaki_jax.cli import data_arguments
from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  from phenaki_jax.data.build import OpenSource
  from phenaki_jax.data.sources.base import Source

EXAMPLES = """
  phenaki data build --webvid data/webvid --img2dataset data/laion \\
    --out data/manifest
  phenaki data check data/manifest
  phenaki data inspect data/manifest --out sheet.png
  phenaki data storyworld --out data/world --clips 200 --images 200
  phenaki train --config configs/tokenizer/lpc.py:manifest=data/manifest \\
    --workdir runs/tokenizer
"""

_FAILED = 1
_PROBLEMS_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the actions and their arguments."""
  actions = parser.add_subparsers(
    dest='action', metavar='ACTION', required=True, title='actions'
  )
  data_arguments.add_build(actions).set_defaults(func=run_build)
  data_arguments.add_check(actions).set_defaults(func=run_check)
  data_arguments.add_inspect(actions).set_defaults(func=run_inspect)
  data_arguments.add_storyworld(actions).set_defaults(func=run_storyworld)


def run(args: argparse.Namespace) -> int:
  """Run the action that was named."""
  return args.func(args)


def run_build(args: argparse.Namespace) -> int:
  """Build a manifest and print its report."""
  from phenaki_jax.data import build, filters

  reports = build.build(
    _openers(args),
    args.out,
    filters=filters.FilterConfig(
      max_unsafe=args.max_unsafe,
      max_watermark=args.max_watermark,
      min_side=args.min_side,
      max_caption=args.max_caption,
      min_duration=args.min_duration,
      max_duration=args.max_duration,
      allow_missing=tuple(args.allow_missing),
    ),
    max_broken_share=args.max_broken,
    workers=args.workers,
  )
  for report in reports:
    print('\n'.join(report.lines()))
  print(f'wrote {args.out}; its report is {args.out}/report.json')
  return 0


def run_check(args: argparse.Namespace) -> int:
  """Check a manifest against its data; 1 if something has changed."""
  from phenaki_jax.data import check, manifest

  content = manifest.Manifest(args.folder)
  for report in content.reports():
    print('\n'.join(report.lines()))
  problems = 0
  for problem in check.find_problems(content, workers=args.workers):
    problems += 1
    if problems <= _PROBLEMS_SHOWN:
      print(f'{problem.key}: {problem.reason} {problem.detail}'.rstrip())
  print(f'{len(content):,} records read again, {problems:,} problems')
  return _FAILED if problems else 0


def run_inspect(args: argparse.Namespace) -> int:
  """Draw a contact sheet of a manifest."""
  from phenaki_jax.data import manifest, schema
  from phenaki_jax.data.examples import pick
  from phenaki_jax.media.contact_sheet import contact_sheet
  from phenaki_jax.media.png import write_png

  content = manifest.Manifest(args.folder)
  request = schema.ExampleRequest(
    size=(args.size, args.size), frames=args.frames, fps=float(args.fps)
  )
  clips, images = (
    pick(content, kind, count=count, request=request, seed=args.seed)
    for kind, count in ((schema.CLIP, args.clips), (schema.IMAGE, args.images))
  )
  sheet = contact_sheet(
    [(clip.caption, clip.pixels[: clip.num_frames]) for clip in clips],
    images=[(image.caption, image.pixels) for image in images],
    columns=9,
    min_height=1,
    min_width=896,
    font_size=11,
    max_lines=5,
    title=(
      f'{content.header["clips"]:,} clips and {content.header["images"]:,} '
      f'images, manifest {content.hash[:12]}'
    ),
  )
  provenance = {'notice': 'examples of a dataset', 'manifest': content.hash}
  write_png(args.out, sheet, provenance=provenance)
  print(f'wrote {args.out}')
  return 0


def run_storyworld(args: argparse.Namespace) -> int:
  """Write StoryWorld in the layouts of real data."""
  from phenaki_jax import storyworld
  from phenaki_jax.files.atomic import staged_folder

  out = pathlib.Path(args.out).absolute()
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise UserError(f'{args.out} is not empty; name a new folder')
  if not args.clips + args.images:
    raise UserError('--clips 0 and --images 0 leave nothing to write')
  bar = progress.bar(
    total=args.clips + args.images, unit='example', desc=out.name
  )
  shared = {
    'seed': args.seed,
    'subset': args.subset,
    'size': args.size,
    'on_written': bar.update,
  }
  with staged_folder(out) as folder, bar:
    if args.clips:
      storyworld.write_webvid(
        folder / 'webvid',
        args.clips,
        frames=args.frames,
        fps=args.fps,
        **shared,
      )
    if args.images:
      storyworld.write_img2dataset(
        folder / 'img2dataset', args.images, **shared
      )
  print(f'wrote {args.clips:,} clips and {args.images:,} images to {args.out}')
  return 0


def _openers(args: argparse.Namespace) -> list['OpenSource']:
  """Return what opens each source that the arguments name, in order."""
  openers: list['OpenSource'] = []
  for folder in args.webvid:
    openers.append(functools.partial(_open_webvid, folder))
  for folder in args.img2dataset:
    openers.append(functools.partial(_open_img2dataset, folder))
  if args.storyworld is not None:
    openers.append(functools.partial(_open_storyworld, args))
  if not openers:
    raise UserError(
      'name at least one source: --webvid DIR, --img2dataset DIR or '
      '--storyworld N'
    )
  return openers


def _open_webvid(folder: str, indices: pathlib.Path) -> 'Source':
  from phenaki_jax.data.sources import webvid

  del indices  # Its files are whole; none needs an index.
  return webvid.WebVid(folder)


def _open_img2dataset(folder: str, indices: pathlib.Path) -> 'Source':
  from phenaki_jax.data.sources import img2dataset

  return img2dataset.Img2Dataset(folder, index_folder=indices)


def _open_storyworld(
  args: argparse.Namespace, indices: pathlib.Path
) -> 'Source':
  from phenaki_jax.data.sources import storyworld

  del indices  # It has no files.
  return storyworld.StoryWorld(
    storyworld.StoryWorldReader(
      subset=args.subset,
      seed=args.seed,
      continuation_share=args.continuation_share,
    ),
    num_clips=args.storyworld,
    num_images=args.storyworld,
  )
