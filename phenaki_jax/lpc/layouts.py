"""Write the sprite world in the layouts of WebVid, img2dataset and stories."""

import dataclasses
import functools
import json
import pathlib
import random
from collections.abc import Callable, Iterable

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.layouts import img2dataset, webvid
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import grammar, random_story, renderer
from phenaki_jax.lpc.sheets import CELL, Sheets
from phenaki_jax.lpc.story import Story

# Small drawings with sharp edges need the full resolution of colour.
_PIXEL_FORMAT = 'yuv444p'
NOTICE = 'rendered from sheets of the Liberated Pixel Cup, CC-BY-SA 3.0'
_FIRST_ID = 20_000_000
_SHARD = 2000  # images per tar
_SCORES = {
  'similarity': 0.33,
  'punsafe': 0.01,
  'pwatermark': 0.05,
  'AESTHETIC_SCORE': 6.0,
}
_CLIP_FACTS = facts_lib.FACT_NAMES[:-1]  # without the style
_CHARACTER_FACTS = _CLIP_FACTS[:5]
_SCENE_FACTS = ('action', 'direction', 'place')
NEW_PLACES = 0.25  # share of the later scenes of a story


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
  """The inputs of a data set.

  Attributes:
    sheets: the drawings.
    seed: the same seed gives the same data set.
    size: side of frames and images in pixels, at least 64.
    held_out: show held-out combinations instead of all others.
  """

  sheets: Sheets
  seed: int = 0
  size: int = 128
  held_out: bool = False

  def __post_init__(self):
    if self.size < CELL:
      raise UserError(
        f'size is {self.size}, but a character has {CELL} pixels; give at '
        f'least {CELL}'
      )


def _drawn(world, sample, stream, number):
  """Yield stories; a larger number only adds stories at the end."""
  rng = random.Random(f'{world.seed} {stream}')
  for _ in range(number):
    yield sample(rng, size=world.size, held_out=world.held_out)


def write_webvid(
  out_dir: epath.PathLike,
  num_clips: int,
  world: World,
  *,
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write clips with attributes in the WebVid layout.

  Args:
    out_dir: folder to write to; created if necessary.
    num_clips: number of clips.
    world: the drawings, the seed and the size.
    on_written: called after each clip.

  Returns:
    The path of the CSV file.

  Raises:
    UserError: the size is odd.
  """

  def clip(story):
    (scene,) = story.scenes
    return webvid.Clip(
      frames=renderer.render_story(story, world.sheets, size=world.size),
      caption=scene.prompt,
      attributes=scene.facts.attributes(*_CLIP_FACTS),
    )

  return webvid.write_webvid(
    out_dir,
    map(clip, _drawn(world, random_story.sample_clip, 'webvid', num_clips)),
    fps=renderer.FPS,
    first_id=_FIRST_ID,
    notice=NOTICE,
    pixel_format=_PIXEL_FORMAT,
    on_written=on_written,
  )


def write_img2dataset(
  out_dir: epath.PathLike,
  num_images: int,
  world: World,
  *,
  on_written: Callable[[], object] = lambda: None,
) -> tuple[pathlib.Path, ...]:
  """Write images with attributes in the img2dataset layout, as PNG.

  The arguments are those of `write_webvid`.

  Returns:
    The paths of the tar files.
  """

  def image(story):
    (scene,) = story.scenes
    return img2dataset.CaptionedImage(
      frame=renderer.render_image(story, world.sheets, size=world.size),
      caption=scene.prompt,
      scores=_SCORES,
      attributes=scene.facts.attributes(*facts_lib.FACT_NAMES),
    )

  return img2dataset.write_img2dataset(
    out_dir,
    map(image, _drawn(world, random_story.sample_image, 'laion', num_images)),
    suffix='png',
    shard_size=_SHARD,
    on_written=on_written,
  )


def write_stories(
  out_dir: epath.PathLike,
  num_stories: int,
  world: World,
  *,
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write stories as `stories.jsonl` and `videos/<story_id>.mp4`.

  A line has the attributes of the character, and of each scene the prompt, the
  frames [start_frame, end_frame), the action, the direction and the place. The
  arguments are those of `write_webvid`.

  Returns:
    The path of the JSONL file.

  Raises:
    UserError: the size is odd.
  """
  sample = functools.partial(random_story.sample_story, new_places=NEW_PLACES)
  stories = _drawn(world, sample, 'stories', num_stories)
  return _write_films(out_dir, stories, world, _SCENE_FACTS, on_written)


def write_returns(
  out_dir: epath.PathLike,
  num_stories: int,
  world: World,
  *,
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write stories in which a character leaves for three scenes and comes back.

  The files are those of `write_stories`, but that every scene also has the
  attributes of its own character. The arguments are the same.

  Returns:
    The path of the JSONL file.

  Raises:
    UserError: the size is odd.
  """
  stories = _drawn(world, random_story.sample_return, 'returns', num_stories)
  return _write_films(out_dir, stories, world, _CLIP_FACTS, on_written)


def _write_films(
  out_dir: epath.PathLike,
  stories: Iterable[Story],
  world: World,
  names: tuple[str, ...],
  on_written: Callable[[], object],
) -> pathlib.Path:
  """Write films, and of each scene the named facts."""
  out_dir = pathlib.Path(out_dir)
  lines = []
  for index, story in enumerate(stories):
    video = f'videos/s{index:05d}.mp4'
    frames = renderer.render_story(story, world.sheets, size=world.size)
    webvid.write_video(
      out_dir / video,
      frames,
      fps=renderer.FPS,
      notice=NOTICE,
      pixel_format=_PIXEL_FORMAT,
    )
    facts = story.scenes[0].facts
    record = {
      'story_id': f's{index:05d}',
      'video': video,
      'fps': renderer.FPS,
      'num_frames': len(frames),
      'character': grammar.describe(facts),
      'attributes': facts.attributes(*_CHARACTER_FACTS),
      'scenes': [
        {
          'prompt': scene.prompt,
          'start_frame': start,
          'end_frame': stop,
          **scene.facts.attributes(*names),
        }
        for scene, (start, stop) in zip(story.scenes, story.spans, strict=True)
      ],
    }
    lines.append(json.dumps(record) + '\n')
    on_written()
  path = out_dir / 'stories.jsonl'
  path.write_text(''.join(lines), encoding='utf-8')
  return path
