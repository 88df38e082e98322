"""Generate a story video: one prompt per scene, one film of all scenes.

Each scene continues from the last frames of the previous one. Beside the film
STORY.mp4 are written STORY.gif, a contact sheet STORY.png, and STORY.json,
which records how it was made: model, seeds, settings, prompts, versions. The
files of an earlier story are replaced only when the new ones are complete.

Finished scenes are kept in the folder STORY.scenes, from which the same
command continues after an interruption. A kept scene is used again if
everything that its frames need is the same: the model, the size, the context
frames, its own prompt, length, seed and settings, and all of that for each
scene before it, back to the last cut. Scenes of other stories are removed once
the new story is complete.

--reroll N gives scene N another seed. Earlier scenes stay the same, byte for
byte; later scenes continue from it and change, up to the next cut. Seeds of
earlier rerolls are read from STORY.json and kept; without --reroll, the seeds
of the story file are used.

--candidates N makes N candidates of each scene and keeps the one with the best
score: the likelihood of its tokens, its realness to the model's critic, or the
share of the facts of the prompts that are read in it, of StoryWorld and of the
sprite world (--choose oracle). --dry-run makes nothing: it prints which prompt
is active in which frames and what each window sees, and draws it to
STORY.timeline.png.

--context tokens carries the tokens of the last frames on, and encodes nothing
again (docs/stories.md). Finished scenes are then not kept.

--source FRAME shows an image to all scenes of a model that reads one: a story
is continued from it, in the looks that it has. --character FRAME, which may be
given several times, shows pictures of a character (docs/conditioning.md).

Words that no training caption had, prompts that are too long for the model and
frames of another size than the trained one are named on standard error and in
STORY.json; --strict refuses them before any work.
"""

import argparse

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki story configs/stories/lpc.yaml --out knight.mp4
  phenaki story --prompt "an orc in chain mail walks to the left on the sand" \\
    --prompt "it swings a dagger facing left" --out orc.mp4
  phenaki story configs/stories/lpc.yaml --out knight.mp4 --reroll 2
  phenaki story configs/stories/circle.yaml --out circle.mp4 --model storyworld
  phenaki story configs/stories/circle.yaml --out circle.mp4 \\
    --model runs/story/generator --guidance 4 --steps 12
  phenaki story configs/stories/lpc.yaml --out knight.mp4 --dry-run
  phenaki story configs/stories/lpc.yaml --out knight.mp4 \\
    --candidates 3 --choose oracle
  phenaki story circle.yaml --out circle.mp4 --model runs/source \\
    --source first.png
  phenaki story circle.yaml --out circle.mp4 --model runs/character \\
    --character one.png --character two.png
  phenaki story --schema
"""

_OPTIONS = (
  ('seed', int, "seed in place of the story's own (0)"),
  ('frames', int, 'length of scenes that give none (one clip of the model)'),
  ('guidance', float, 'guidance scale of scenes that give none; 0 for none'),
  ('steps', int, 'decoding steps of scenes that give none'),
  ('temperature', float, 'of scenes that give none; 0: most likely tokens'),
  ('fps', float, "frames per second, in place of the story's own"),
  ('candidates', int, 'candidates of scenes that give none (1)'),
)
_WORDS = (
  ('style', 'text that is added to the prompt of every scene'),
  ('negative', 'text that guidance moves away from, if a scene gives none'),
  ('order', 'order of decoding of scenes that give none; see docs/stories.md'),
  ('guidance-schedule', 'constant, linear or cosine, for such scenes too'),
  ('context', 'what windows see of the last ones: frames (default) or tokens'),
  ('choose', 'score of candidates: likelihood (default), critic or oracle'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    'story', nargs='?', metavar='STORY', help='a story file, YAML or JSON'
  )
  parser.add_argument(
    '--prompt', action='append', metavar='TEXT', help='a scene, without a file'
  )
  parser.add_argument('--out', metavar='STORY.mp4', help='the film to write')
  arguments.add_images(parser)
  arguments.add_model(parser, default='lpc')
  for name, kind, words in _OPTIONS:
    parser.add_argument(f'--{name}', type=kind, metavar='N', help=words)
  for name, words in _WORDS:
    parser.add_argument(f'--{name}', metavar='TEXT', help=words)
  for name, words in (
    ('dry-run', 'show the timeline, and generate nothing'),
    ('schema', 'print the JSON Schema of story files'),
    ('strict', 'fail if the model cannot satisfy a request'),
  ):
    parser.add_argument(f'--{name}', action='store_true', help=words)
  arguments.add_origin(parser)
  words = 'give scene N (from 1) another seed; may be given several times'
  parser.add_argument(
    '--reroll', type=int, action='append', metavar='N', help=words
  )


def run(args: argparse.Namespace) -> None:
  """Generate one story."""
  # JAX takes seconds, and is imported when all this can be used.
  from phenaki_jax.stories.output_paths import output_paths
  from phenaki_jax.stories.story import resolve, with_options
  from phenaki_jax.stories.story_file import as_story, read_schema

  if args.schema:
    print(read_schema(), end='')
    return
  if bool(args.story) == bool(args.prompt):
    both = ', not both' if args.story else ''
    raise UserError(f'give a story file or one --prompt for each scene{both}')
  if args.out is None and (args.reroll or not args.dry_run):
    raise UserError('give --out STORY.mp4, the film to write')
  names = [name.replace('-', '_') for name, *_ in (*_OPTIONS, *_WORDS)]
  options = {name: getattr(args, name) for name in names}
  story = with_options(as_story(args.story or args.prompt), **options)
  read = (args.story, *arguments.images(args, story))
  if args.out is not None:
    output_paths(args.out, inputs=filter(None, read))
  origin = arguments.origin(args)
  from phenaki_jax.runs.diffusion import load_any
  from phenaki_jax.runs.footage import read_starts
  from phenaki_jax.stories import outputs

  model = load_any(args.model, tokenizer=args.tokenizer, encoder=args.encoder)
  story = resolve(story, model.defaults)
  model = arguments.with_images(model, args, story)
  remarks = model.remarks(story)
  if args.strict and remarks:
    raise UserError('; '.join(remark.sentence for remark in remarks))
  starts = read_starts(story)
  if rolled := args.reroll or []:
    made_by = model.provenance
    story = outputs.reroll_story(story, rolled, args.out, made_by=made_by)
  for number in sorted(set(rolled)):
    seed = story.scenes[number - 1].seed
    print(
      f'scene {number} now has the seed {seed}; write "seed: {seed}" in the '
      'story file to keep it'
    )
  if args.dry_run:
    print(outputs.write_timeline(model.sampler, story, args.out, starts))
    return
  paths = outputs.write_story(
    model.sampler,
    story,
    args.out,
    made_by=model.provenance,
    remarks=remarks,
    starts=starts,
    judge=model.judge(story),
    **origin,
  )
  print(*paths, sep='\n')
