"""The timeline of a story: its windows, their prompts and what they see.

`plan` decides how scenes are divided into windows. `generate` follows it, and
`phenaki story --dry-run` shows it.
"""

import dataclasses
import types
from collections.abc import Iterator, Mapping

from phenaki_jax.earlier_scenes import recalled
from phenaki_jax.stories.story import Story


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
  """Consecutive frames that are generated at once.

  Attributes:
    scene: number of the scene, from 0.
    number: number of the window in the scene, from 0.
    start: number of its first new frame in the story, from 0.
    frames: number of new frames that the story keeps.
    sees: number of context frames: the last frames before it in the story, or
      in what the scene starts from.
    sees_story: how many of them are frames of the story.
  """

  scene: int
  number: int
  start: int
  frames: int
  sees: int
  sees_story: int


def plan(
  story: Story,
  *,
  clip_frames: int,
  tubelet: int,
  starts: Mapping[int, int] = types.MappingProxyType({}),
) -> Iterator[Window]:
  """Divide a resolved story into windows.

  A window sees as many of the last K frames as fill whole latent frames; the
  other frames of a clip are new, and those beyond the end of the scene are
  dropped.

  Args:
    story: a resolved story.
    clip_frames: length of a clip of the model.
    tubelet: frames per latent frame, after the first.
    starts: by number of the scene, how many frames it starts from.
  """
  start = since = before = 0
  for number, scene in enumerate(story.scenes):
    if scene.cut:
      since, before = start, starts.get(number, 0)
    end, window = start + (scene.frames or 0), 0
    while start < end:
      most = scene.context_frames or story.context_frames or 1
      known = min(before + start - since, most)
      sees = 1 + (known - 1) // tubelet * tubelet if known else 0
      frames = min(clip_frames - sees, end - start)
      yield Window(
        scene=number,
        number=window,
        start=start,
        frames=frames,
        sees=sees,
        sees_story=min(sees, start - since),
      )
      start, window = start + frames, window + 1


def to_text(
  story: Story, windows: Iterator[Window] | list[Window], *, slots: int = 0
) -> str:
  """Return the timeline of a resolved story as lines of text.

  Frames are numbered from 0; both ends are included.

  Args:
    story: a resolved story.
    windows: from `plan`.
    slots: how many earlier scenes the clips of the model are shown.
  """
  remembered = recalled(tuple(scene.prompt for scene in story.scenes), slots)
  fps = story.fps or 1.0
  lines, last = [], None
  for window in windows:
    scene = story.scenes[window.scene]
    if window.scene != last:
      last = window.scene
      stop = window.start + (scene.frames or 0)
      head = f'scene {last + 1}: frames {window.start}-{stop - 1}'
      head += f' ({window.start / fps:.2f}-{stop / fps:.2f} s)'
      settings = story.settings(scene)
      more = [f'guidance {settings.guidance:g}', f'{settings.steps} steps']
      more.append(f'seed {scene.seed}')
      if (scene.candidates or 1) > 1:
        more.append(f'best of {scene.candidates} by {story.choose}')
      lines += [head, f'  "{scene.prompt}"', f'  {", ".join(more)}']
      if settings.negative:
        lines.append(f'  away from "{settings.negative}"')
      if chosen := remembered[last]:
        numbers = ', '.join(str(number + 1) for number in chosen)
        lines.append(f'  remembers scene {numbers}: first frame and prompt')
    frames = f'{window.start}-{window.start + window.frames - 1}'
    lines.append(f'    frames {frames} see {_seen(window, scene.start)}')
  return '\n'.join(lines)


def _seen(window: Window, source: str | None) -> str:
  parts = []
  if given := window.sees - window.sees_story:
    parts.append(f'the last {given} of {source}')
  if count := window.sees_story:
    parts.append(f'frames {window.start - count}-{window.start - 1}')
  return ' and '.join(parts) or 'nothing'
