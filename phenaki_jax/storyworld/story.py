"""Stories: consecutive scenes in which most facts persist."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar, random_scene, renderer
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.types import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScene:
  """One scene of a story.

  Attributes:
    facts: what the scene shows.
    prompt: the text that describes it.
    frames: number of frames, at least 1.
    cut: the object starts again at its first position in the story, instead of
      continuing from the previous scene.
  """

  facts: facts_lib.Facts
  prompt: str
  frames: int
  cut: bool = False

  def __post_init__(self):
    if self.frames < 1:
      raise ValueError(f'a scene has {self.frames} frames, not at least 1')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """A story: its scenes, and `x`, `y` and `phase` of its first `Scene`."""

  scenes: tuple[StoryScene, ...]
  x: float | int = 0.5
  y: float | int = 0.5
  phase: float | int = 0.0

  def __post_init__(self):
    if not self.scenes:
      raise ValueError('a story has no scenes')

  @property
  def frames(self) -> int:
    """Return the number of frames of the story."""
    return sum(scene.frames for scene in self.scenes)

  @property
  def spans(self) -> tuple[tuple[int, int], ...]:
    """Return the frames [start, stop) of each scene."""
    lengths = (scene.frames for scene in self.scenes)
    return tuple(itertools.pairwise(itertools.accumulate(lengths, initial=0)))

  @property
  def prompts(self) -> tuple[str, ...]:
    """Return the prompt of each scene."""
    return tuple(scene.prompt for scene in self.scenes)


def sample_story(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  num_scenes: int,
  frames_per_scene: int,
  split: Split = 'train',
) -> Story:
  """Draw a story in which one or two facts change from scene to scene.

  The first prompt names all facts; later ones say 'it'.

  Args:
    rng: random generator.
    subset: a name or a `Subset`.
    num_scenes: at least 1.
    frames_per_scene: at least 1.
    split: 'train', 'heldout' (every scene shows a held-out combination; few of
      them differ in only one or two facts, so that mostly the place changes) or
      'all'.

  Raises:
    UserError: the subset has no such story.
    ValueError: a number is below 1.
  """
  subset = subset_lib.subset_named(subset)
  facts = random_scene.sample_facts(rng, subset, split).replace(second=None)
  start = random_scene.sample_scene(rng, facts, subset)
  prompt = grammar.caption(facts, rng, subset)
  scenes: list[StoryScene] = []
  while len(scenes) < num_scenes:
    if scenes:
      previous = facts
      facts = random_scene.sample_change(rng, previous, subset, split)
      prompt = grammar.continuation(previous, facts, rng)
    scenes.append(
      StoryScene(facts=facts, prompt=prompt, frames=frames_per_scene)
    )
  return Story(scenes=tuple(scenes), x=start.x, y=start.y, phase=start.phase)


def placed_scenes(
  story: Story, fps: float | int = scene_lib.REFERENCE_FPS
) -> tuple[scene_lib.Scene, ...]:
  """Return each scene of a story with its position at its first frame."""
  facts = story.scenes[0].facts
  first = scene_lib.Scene(facts=facts, x=story.x, y=story.y, phase=story.phase)
  placed = [first]
  for previous, scene in itertools.pairwise(story.scenes):
    after = scene_lib.advance(placed[-1], previous.frames, scene.facts, fps)
    if scene.cut:
      after = scene_lib.Scene(facts=scene.facts, x=story.x, y=story.y)
    placed.append(after)
  return tuple(placed)


def render_story(
  story: Story,
  size: int | tuple[int, int],
  fps: float | int = scene_lib.REFERENCE_FPS,
  *,
  start: int = 0,
  stop: int | None = None,
  render: Callable[..., np.ndarray] = renderer.render_clip,
) -> np.ndarray:
  """Render frames [start, stop) of a story.

  Facts change at the first frame of a scene, while the position continues.

  Args:
    story: what to render.
    size: side in pixels, or (height, width).
    fps: frames per second; the number of frames is independent of it.
    start, stop: the frames to render; by default, all of them.
    render: renders the frames of a scene, `renderer.render_clip` or
      `renderer.render_depth`.

  Returns:
    The frames, uint8 [T, H, W, 3], or their depth; they equal the same slice
    of the whole story.

  Raises:
    UserError: `fps` is not positive, or a side is below 8 pixels.
    ValueError: the frames do not lie within the story.
  """
  stop = story.frames if stop is None else stop
  if not 0 <= start < stop <= story.frames:
    raise ValueError(
      f'frames [{start}, {stop}) are not 0 <= start < stop <= {story.frames}'
    )
  parts = []
  scenes = placed_scenes(story, fps)
  for scene, (first, last) in zip(scenes, story.spans, strict=True):
    begin = max(start, first) - first
    count = min(stop, last) - first - begin
    if count > 0:
      parts.append(render(scene, count, size, fps, start=begin))
  return np.concatenate(parts)
