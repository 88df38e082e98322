"""Training examples: each is a pure function of a seed and an index."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from phenaki_jax import earlier_scenes
from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar, random_scene, renderer, returns
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import story as story_lib
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.types import ImageU8, Split, VideoU8

# Part of the seeds, so that clips and images use separate random streams.
_CLIP, _IMAGE = 1, 2
# Shares of the continuations:
_FULL_CAPTION_SHARE = 0.2  # captioned like a first scene
_SAME_FACTS_SHARE = 0.2  # without a change of facts
_FIRST_WINDOW_SHARE = 0.4  # all context frames show the previous scene
# Share of those that are scenes of a story in which an object comes back, where
# earlier scenes are shown; and of these, the share of the scenes of its return.
_RETURN_SHARE = 0.5
_BACK_SHARE = 0.5
_CHANGE_ALONE_SHARE = 0.5  # captioned by the change, not by a motion that stays


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlierScene:
  """The first frame of a scene before that of a clip, with its caption."""

  frame: ImageU8
  caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipExample:
  """A clip with its caption.

  Attributes:
    frames: the clip, context frames included.
    caption: describes the frames after the context frames.
    context_frames: number of context frames, 0 for a clip without context.
    facts: facts of the frames after the context frames.
    previous_facts: facts of the previous scene, None without context.
    depth: relative inverse depth, see `renderer.render_depth`; None if it was
      not asked for.
    history: earlier scenes, in the order of their story.
  """

  frames: VideoU8
  caption: str
  context_frames: int
  facts: facts_lib.Facts
  previous_facts: facts_lib.Facts | None = None
  depth: UInt8[np.ndarray, 'T H W'] | None = None
  history: tuple[EarlierScene, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageExample:
  """An image with its caption and facts."""

  frame: ImageU8
  caption: str
  facts: facts_lib.Facts


def _nothing(scene, frames, size, fps=scene_lib.REFERENCE_FPS, *, start=0):
  """Return black frames; takes the arguments of `renderer.render_clip`."""
  return np.zeros((frames, *renderer.frame_size(size), 3), np.uint8)


def _generator(seed, kind, index):
  if seed < 0 or index < 0:
    raise UserError(f'seed {seed} and index {index} must not be negative')
  return np.random.default_rng((seed, kind, index))


def _continuation_clip(
  rng, subset, frames, size, fps, context, split, depth, slots, render
):
  facts = random_scene.sample_facts(rng, subset, split).replace(second=None)
  start = random_scene.sample_scene(rng, facts, subset)
  x, y = start.x, start.y
  previous = facts
  if rng.random() >= _SAME_FACTS_SHARE:
    facts = random_scene.sample_change(rng, previous, subset, split)
  if rng.random() < _FULL_CAPTION_SHARE:
    caption = grammar.caption(facts, rng, subset)
  else:
    repeats_motion = rng.random() >= _CHANGE_ALONE_SHARE
    caption = grammar.continuation(
      previous, facts, rng, repeats_motion=repeats_motion
    )
  if subset.grid:
    # A position that straight motion can reach within a story.
    x, y = rng.integers(round(1 / scene_lib.SPEED), size=2) * scene_lib.SPEED
  # A scene takes several windows, so some or all of the context frames of a
  # window may already belong to it.
  own = int(rng.integers(3)) * (frames - context)
  own = 0 if rng.random() < _FIRST_WINDOW_SHARE else min(own, context)
  lengths = ((previous, context - own), (facts, frames - context + own))
  scenes = tuple(
    story_lib.StoryScene(facts=shown, prompt=caption, frames=length)
    for shown, length in lengths
    if length
  )
  story = story_lib.Story(
    scenes=scenes, x=float(x), y=float(y), phase=start.phase
  )
  history: tuple[EarlierScene, ...] = ()
  if slots:
    scene = scene_lib.Scene(facts=previous, x=float(x), y=float(y))
    frame = render(scene, 1, size, fps)[0]
    text = grammar.caption(previous, subset=subset)
    history = (EarlierScene(frame=frame, caption=text),)
  return ClipExample(
    frames=story_lib.render_story(story, size, fps, render=render),
    caption=caption,
    context_frames=context,
    facts=facts,
    previous_facts=previous,
    depth=story_lib.render_story(story, size, fps, render=renderer.render_depth)
    if depth
    else None,
    history=history,
  )


def _clip_of_return(
  rng, subset, frames, size, fps, context, split, depth, slots, render
):
  """Make a window of a later scene of a story in which an object is back."""
  new = frames - context
  # Scenes are two windows long, as in evaluations.
  story = returns.sample_return(rng, subset, 2 * new, split)
  later = range(1, len(story.scenes))
  number = later[-1]
  if rng.random() >= _BACK_SHARE:
    number = int(rng.choice(later[:-1]))
  scene = story.scenes[number]
  shown = earlier_scenes.choose(story.prompts[:number], scene.prompt, slots)

  def rendered(start, count, render=render):
    return story_lib.render_story(
      story, size, fps, start=start, stop=start + count, render=render
    )

  begins = [start for start, _ in story.spans]
  window = int(rng.integers(2)) * new
  first = begins[number] + window - context

  def window_of(**options):
    # More context than the scenes before have shows the first frame at rest.
    clip = rendered(max(first, 0), frames + min(first, 0), **options)
    return np.concatenate([clip[:1].repeat(-min(first, 0), 0), clip])

  return ClipExample(
    frames=window_of(),
    caption=scene.prompt,
    context_frames=context,
    facts=scene.facts,
    previous_facts=story.scenes[number - 1].facts,
    depth=window_of(render=renderer.render_depth) if depth else None,
    history=tuple(
      EarlierScene(
        frame=rendered(begins[one], 1)[0], caption=story.scenes[one].prompt
      )
      for one in shown
    ),
  )


def training_clip(
  seed: int,
  index: int,
  subset: str | subset_lib.Subset,
  *,
  frames: int,
  size: int | tuple[int, int],
  fps: float | int = scene_lib.REFERENCE_FPS,
  continuation_share: float | int = 0.0,
  context_frames: int = 5,
  split: Split = 'train',
  depth: bool = False,
  history: int = 0,
  draws: bool = True,
) -> ClipExample:
  """Make a clip with its caption.

  Args:
    seed: seed of the data set, 0 or more.
    index: index of the clip, 0 or more, without an upper bound.
    subset: a name or a `Subset`.
    frames: number of frames of the clip.
    size: side in pixels, or (height, width).
    fps: frames per second.
    continuation_share: probability of a continuation: a clip with context
      frames, mostly captioned by its changes ('it turns blue and moves left').
    context_frames: number of context frames of a continuation, at least 1 and
      below `frames`; not used if `continuation_share` is 0.
    split: 'train', 'heldout' or 'all'.
    depth: whether the clip has its depth, too.
    history: most earlier scenes that come with a continuation. If there are
      any, half of the continuations are of stories in which an object leaves
      and comes back (see `returns`); the others come with the scene before.
    draws: whether anything is drawn. Otherwise the frames are black, and all
      else is the same, in less time.

  Raises:
    UserError: an argument is out of range, or the subset has no example in the
      split.
  """
  if not 0 <= continuation_share <= 1:
    raise UserError(
      f'continuation_share is {continuation_share}; it must be in [0, 1]'
    )
  if continuation_share and not 1 <= context_frames < frames:
    raise UserError(
      f'context_frames is {context_frames} of {frames} frames; it must be at '
      'least 1 and below the number of frames'
    )
  subset = subset_lib.subset_named(subset)
  rng = _generator(seed, _CLIP, index)
  render = renderer.render_clip if draws else _nothing
  if rng.random() < continuation_share:
    if history and rng.random() < _RETURN_SHARE:
      make = _clip_of_return
    else:
      make = _continuation_clip
    return make(
      *(rng, subset, frames, size, fps, context_frames, split, depth, history),
      render,
    )
  facts = random_scene.sample_facts(rng, subset, split)
  scene = random_scene.sample_scene(rng, facts, subset)
  return ClipExample(
    frames=render(scene, frames, size, fps),
    caption=grammar.caption(facts, rng, subset),
    context_frames=0,
    facts=facts,
    depth=renderer.render_depth(scene, frames, size, fps) if depth else None,
  )


def training_image(
  seed: int,
  index: int,
  subset: str | subset_lib.Subset,
  *,
  size: int | tuple[int, int],
  split: Split = 'train',
  draws: bool = True,
) -> ImageExample:
  """Make an image with its caption, which does not mention motion.

  More than half of the images have one or two image-only values of the subset.
  Arguments and errors are those of `training_clip`.
  """
  subset = subset_lib.subset_named(subset)
  rng = _generator(seed, _IMAGE, index)
  facts = random_scene.sample_facts(rng, subset, split, image=True)
  scene = random_scene.sample_scene(rng, facts, subset)
  render = renderer.render_clip if draws else _nothing
  return ImageExample(
    frame=render(scene, 1, size)[0],
    caption=grammar.caption(facts, rng, subset),
    facts=facts,
  )
