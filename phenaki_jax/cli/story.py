"""Tell a story: one prompt a scene, one film of all of them.

Each scene goes on from the last frames of the one before. Beside the film
STORY.mp4 stand STORY.gif, a contact sheet STORY.png and STORY.json, which says
how it was made: model, seeds, settings, prompts, versions. They are replaced
only when the new ones are complete.

Finished scenes are kept in the folder STORY.scenes, so that the same command
goes on after an interruption. A kept scene is used again when everything that
made it is the same: the model, the size, the context, its own prompt, length,
seed and settings, and all of that for each scene before it back to the last
cut. Scenes of other stories are removed once the new story is complete.

--reroll N gives scene N another seed. Scenes before it stay as they are, byte
for byte; those after it continue it, so they change, up to the next cut. Seeds
rolled before are read from STORY.json and kept; without --reroll the seeds of
the story file hold again.
"""

import argparse
import dataclasses
import json
import pathlib
import platform
from typing import TYPE_CHECKING, Any

from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  from phenaki_jax.runs.open import StoryModel
  from phenaki_jax.stories.script import Script
  from phenaki_jax.stories.story_file import Story

EXAMPLES = """
  phenaki story configs/stories/circle.yaml --out circle.mp4
  phenaki story --prompt "a red circle moving right on grass" \\
    --prompt "it turns blue and keeps moving right" --out story.mp4
  phenaki story configs/stories/circle.yaml --out circle.mp4 --reroll 2
  phenaki story configs/stories/circle.yaml --out circle.mp4 \\
    --model runs/story/generator --guidance 4 --steps 12
"""

_SUFFIXES = ('.gif', '.png', '.json')  # beside the film


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the command's arguments."""
  parser.add_argument(
    'story', nargs='?', metavar='STORY', help='a story file, YAML or JSON'
  )
  parser.add_argument(
    '--prompt',
    action='append',
    default=[],
    metavar='TEXT',
    help='a scene, for stories without a file; once for each scene',
  )
  parser.add_argument(
    '--out', required=True, metavar='STORY.mp4', help='the film to write'
  )
  parser.add_argument(
    '--model',
    metavar='DIR',
    help='a bundle, or the --workdir of a trained generator; the reference '
    'model that ships with the package when left out',
  )
  parser.add_argument(
    '--frames',
    type=int,
    metavar='N',
    help='length of scenes that say none (one clip of the model)',
  )
  parser.add_argument(
    '--seed', type=int, metavar='S', help="in place of the story's own (0)"
  )
  for name, kind, what in (
    ('guidance', float, 'strength of the prompts, 0 for none'),
    ('steps', int, 'decoding steps'),
    ('temperature', float, 'softness of the draws, 0 for the likeliest'),
  ):
    parser.add_argument(
      f'--{name}', type=kind, help=f'{what}; for scenes that do not say'
    )
  parser.add_argument(
    '--reroll',
    type=int,
    action='append',
    default=[],
    metavar='N',
    help='give scene N (from 1) another seed; may be given several times',
  )


def run(args: argparse.Namespace) -> int:
  """Tell one story."""
  story = _story(args)
  out = pathlib.Path(args.out)
  if out.suffix != '.mp4':
    raise UserError(f'--out is {out}; it must end in .mp4')
  if args.story and pathlib.Path(args.story).resolve() in (
    out.with_suffix(suffix).resolve() for suffix in _SUFFIXES
  ):
    raise UserError(
      f'--out {out} would replace the story file {args.story}; choose another '
      'name'
    )
  from phenaki_jax import progress
  from phenaki_jax.runs import open as models
  from phenaki_jax.stories.outputs import StoryFiles
  from phenaki_jax.stories.script import scene_keys, write_script
  from phenaki_jax.stories.takes import Takes
  from phenaki_jax.stories.telling import tell

  model = models.load(args.model)
  script = write_script(story, model.sampler, model.defaults)
  made_by = _made_by(model)
  script = _rolled(script, args.reroll, out.with_suffix('.json'), made_by)
  takes = Takes(out.with_suffix('.scenes'))
  with (
    StoryFiles(out, script, made_by=made_by) as files,
    progress.bar(total=script.frames, unit='frame', desc=out.name) as bar,
  ):
    for footage in tell(model.sampler, script, takes=takes, origin=made_by):
      files.write(footage)
      bar.set_postfix_str(f'scene {footage.scene + 1}', refresh=False)
      bar.update(len(footage.frames))
  takes.keep_only(scene_keys(script, made_by))
  for path in files.paths:
    print(path)
  return 0


def _story(args: argparse.Namespace) -> 'Story':
  """Read the story from its file or from the prompts, and apply the flags."""
  from phenaki_jax.stories import story_file

  if bool(args.story) == bool(args.prompt):
    raise UserError(
      'give either a story file or one --prompt for each scene'
      + (', not both' if args.story else '')
    )
  if args.story:
    story = story_file.read_story(args.story)
  else:
    story = story_file.Story(
      scenes=tuple(story_file.Scene(prompt=text) for text in args.prompt)
    )
  flags = {
    name: getattr(args, name)
    for name in ('guidance', 'steps', 'temperature')
    if getattr(args, name) is not None
  }
  scenes = []
  for scene in story.scenes:
    missing = {k: v for k, v in flags.items() if getattr(scene, k) is None}
    if args.frames is not None and scene.frames is None:
      if scene.seconds is None:
        missing['frames'] = args.frames
    scenes.append(dataclasses.replace(scene, **missing))
  seed = story.seed if args.seed is None else args.seed
  return dataclasses.replace(story, scenes=tuple(scenes), seed=seed)


def _made_by(model: 'StoryModel') -> dict[str, Any]:
  """Say what makes the story beside its script."""
  import jax

  import phenaki_jax

  return {
    'model': {'name': model.name, 'fingerprint': model.fingerprint},
    'versions': {
      'phenaki_jax': phenaki_jax.__version__,
      'jax': jax.__version__,
      'python': platform.python_version(),
    },
    'platform': jax.default_backend(),
  }


def _rolled(
  script: 'Script',
  numbers: list[int],
  record: pathlib.Path,
  made_by: dict[str, Any],
) -> 'Script':
  """Give the scenes of `numbers` other seeds than they had last time."""
  from phenaki_jax.stories.script import reroll, take_seeds

  if not numbers:
    return script
  before = None
  try:
    content = json.loads(record.read_text('utf-8'))
    if content.get('model') == made_by['model']:
      before = take_seeds(script, content.get('story'))
  except (OSError, ValueError, AttributeError):
    pass
  if before is None and record.exists():
    print(
      f'{record} does not tell of this story; the scenes are rolled again '
      'from the seeds of the story itself'
    )
  rolled = reroll(before or script, numbers)
  for number in sorted(set(numbers)):
    print(
      f'scene {number} now has the seed {rolled.shots[number - 1].seed}; '
      f'write "seed: {rolled.shots[number - 1].seed}" there to keep it'
    )
  return rolled
