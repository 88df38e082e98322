"""Stories: scenes that follow one another while most facts persist."""

import dataclasses

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar, renderer, sampler
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScene:
  """Hold one scene of a story: its facts, its prompt and its frames.

  With `cut` the object does not go on from where it was but starts anew
  where the story began.
  """

  facts: facts_lib.Facts
  prompt: str
  frames: int
  cut: bool = False

  def __post_init__(self):
    if self.frames < 1:
      raise UserError(f'a scene has {self.frames} frames; give at least 1')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """Hold a story: its scenes and where the object is at its first frame.

  `x`, `y` and `phase` are those of `Scene`.
  """

  scenes: tuple[StoryScene, ...]
  x: float | int = 0.5
  y: float | int = 0.5
  phase: float | int = 0.0

  def __post_init__(self):
    if not self.scenes:
      raise UserError('a story has no scenes; give at least one')

  @property
  def frames(self) -> int:
    """Count the frames of the whole story."""
    return sum(scene.frames for scene in self.scenes)

  @property
  def spans(self) -> tuple[tuple[int, int], ...]:
    """Return the frames [start, stop) of each scene."""
    stops = np.cumsum([scene.frames for scene in self.scenes])
    return tuple(
      (int(stop) - scene.frames, int(stop))
      for scene, stop in zip(self.scenes, stops, strict=True)
    )

  @property
  def prompts(self) -> tuple[str, ...]:
    """Return the prompt of each scene."""
    return tuple(scene.prompt for scene in self.scenes)


def sample_story(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  num_scenes: int,
  frames_per_scene: int,
  split: str = 'train',
) -> Story:
  """Draw a story in which one or two facts change from scene to scene.

  The first prompt names everything; later ones say 'it'.

  Args:
    rng: the source of chance.
    subset: a name or a `Subset`.
    num_scenes: at least 1.
    frames_per_scene: at least 1.
    split: 'train', 'heldout' (every scene shows a held-out combination; as
      few are neighbours, mostly the place changes) or 'all'.
  """
  if num_scenes < 1:
    raise UserError(f'num_scenes is {num_scenes}; give at least 1')
  subset = subset_lib.subset_named(subset)
  facts = sampler.sample_facts(rng, subset, split).replace(second=None)
  start = sampler.sample_scene(rng, facts, subset)
  scenes = [
    StoryScene(
      facts=facts,
      prompt=grammar.caption(facts, rng, subset),
      frames=frames_per_scene,
    )
  ]
  for _ in range(num_scenes - 1):
    previous = scenes[-1].facts
    facts = sampler.sample_change(rng, previous, subset, split)
    scenes.append(
      StoryScene(
        facts=facts,
        prompt=grammar.continuation(previous, facts, rng),
        frames=frames_per_scene,
      )
    )
  return Story(scenes=tuple(scenes), x=start.x, y=start.y, phase=start.phase)


def placed_scenes(
  story: Story, fps: float | int = scene_lib.REFERENCE_FPS
) -> tuple[scene_lib.Scene, ...]:
  """Return each scene of a story as it stands at its own first frame."""
  first = scene_lib.Scene(
    facts=story.scenes[0].facts, x=story.x, y=story.y, phase=story.phase
  )
  placed = [first]
  for previous, scene in zip(story.scenes, story.scenes[1:], strict=False):
    if scene.cut:
      placed.append(scene_lib.Scene(facts=scene.facts, x=story.x, y=story.y))
    else:
      placed.append(
        scene_lib.advance(placed[-1], previous.frames, scene.facts, fps)
      )
  return tuple(placed)


def render_story(
  story: Story,
  size: int | tuple[int, int],
  fps: float | int = scene_lib.REFERENCE_FPS,
  *,
  start: int = 0,
  stop: int | None = None,
) -> np.ndarray:
  """Draw frames [start, stop) of a story, and only those.

  Facts change at the first frame of a scene; the position goes on across.

  Args:
    story: what to draw.
    size: side in pixels, or (height, width).
    fps: frames per second. Scenes keep their counts of frames.
    start, stop: the window; to the end of the story by default.

  Returns:
    uint8 [stop - start, H, W, 3], equal to that slice of the whole story.
  """
  stop = story.frames if stop is None else stop
  if not 0 <= start < stop <= story.frames:
    raise UserError(
      f'window [{start}, {stop}) does not lie in the {story.frames} frames of '
      'the story; give 0 <= start < stop <= frames'
    )
  parts = []
  for scene, (first, last) in zip(
    placed_scenes(story, fps), story.spans, strict=True
  ):
    begin, end = max(start, first), min(stop, last)
    if begin < end:
      parts.append(
        renderer.render_clip(scene, end - begin, size, fps, start=begin - first)
      )
  return np.concatenate(parts)
