"""Training examples, each a pure function of a seed and an index."""

import dataclasses

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import grammar, renderer, sampler
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import story as story_lib
from phenaki_jax.storyworld import subset as subset_lib

_CLIP, _IMAGE = 1, 2  # Streams of chance that never meet.
_FULL_PROMPT_SHARE = 0.2  # of continuations, captioned as if they began
_SAME_FACTS_SHARE = 0.2  # of continuations, in which nothing changes
_JUST_BEGUN_SHARE = 0.4  # of continuations, of which no frame is context yet


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipExample:
  """Hold a captioned clip.

  Attributes:
    frames: uint8 [T, H, W, 3].
    caption: says what the frames after the first `context_frames` show.
    context_frames: how many first frames belong to the scene before; 0 for a
      clip that stands alone.
    facts: of the frames after the context.
    previous_facts: of the context, or None without one.
  """

  frames: np.ndarray
  caption: str
  context_frames: int
  facts: facts_lib.Facts
  previous_facts: facts_lib.Facts | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageExample:
  """Hold a captioned image: `frame` uint8 [H, W, 3], caption and facts."""

  frame: np.ndarray
  caption: str
  facts: facts_lib.Facts


def _generator(seed, kind, index):
  if seed < 0 or index < 0:
    raise UserError(f'seed {seed} and index {index} must not be negative')
  return np.random.default_rng((seed, kind, index))


def _on_the_way(rng, subset, start):
  """Put an object where the straight motions of a story may have left it."""
  if not subset.grid:
    return start
  x, y = rng.integers(round(1 / scene_lib.SPEED), size=2) * scene_lib.SPEED
  return dataclasses.replace(start, x=float(x), y=float(y))


def _continued(rng, subset, frames, size, fps, context, split):
  previous = sampler.sample_facts(rng, subset, split).replace(second=None)
  start = sampler.sample_scene(rng, previous, subset)
  facts = previous
  if rng.random() >= _SAME_FACTS_SHARE:
    facts = sampler.sample_change(rng, previous, subset, split)
  if rng.random() < _FULL_PROMPT_SHARE:
    prompt = grammar.caption(facts, rng, subset)
  else:
    prompt = grammar.continuation(previous, facts, rng)
  start = _on_the_way(rng, subset, start)
  # A scene is told in several windows, so that of the context some frames, or
  # all, may already belong to it.
  told = int(rng.integers(3)) * (frames - context)
  told = 0 if rng.random() < _JUST_BEGUN_SHARE else min(told, context)
  scenes = (
    [story_lib.StoryScene(facts=previous, prompt='', frames=context - told)]
    if told < context
    else []
  )
  scenes.append(
    story_lib.StoryScene(
      facts=facts, prompt=prompt, frames=frames - context + told
    )
  )
  story = story_lib.Story(
    scenes=tuple(scenes),
    x=start.x,
    y=start.y,
    phase=start.phase,
  )
  return ClipExample(
    frames=story_lib.render_story(story, size, fps),
    caption=prompt,
    context_frames=context,
    facts=facts,
    previous_facts=previous,
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
  split: str = 'train',
) -> ClipExample:
  """Make one captioned clip.

  Args:
    seed: of the data set, not negative.
    index: of the clip, not negative; there are as many as one likes.
    subset: a name or a `Subset`.
    frames: of the clip.
    size: side in pixels, or (height, width).
    fps: frames per second.
    continuation_share: chance in [0, 1] of a clip that begins with
      `context_frames` of the scene before and is captioned by what changes
      ('it turns blue and moves left'), now and then by a full prompt.
    context_frames: at least 1 and under `frames` where continuations are
      asked for.
    split: 'train', 'heldout' or 'all'.
  """
  if not 0 <= continuation_share <= 1:
    raise UserError(
      f'continuation_share is {continuation_share}; give it within [0, 1]'
    )
  if continuation_share and not 1 <= context_frames < frames:
    raise UserError(
      f'context_frames is {context_frames} of {frames} frames; give at least '
      '1 and fewer than frames'
    )
  subset = subset_lib.subset_named(subset)
  rng = _generator(seed, _CLIP, index)
  if rng.random() < continuation_share:
    return _continued(rng, subset, frames, size, fps, context_frames, split)
  facts = sampler.sample_facts(rng, subset, split)
  scene = sampler.sample_scene(rng, facts, subset)
  return ClipExample(
    frames=renderer.render_clip(scene, frames, size, fps),
    caption=grammar.caption(facts, rng, subset),
    context_frames=0,
    facts=facts,
  )


def training_image(
  seed: int,
  index: int,
  subset: str | subset_lib.Subset,
  *,
  size: int | tuple[int, int],
  split: str = 'train',
) -> ImageExample:
  """Make one captioned image; its caption says nothing of motion.

  More than half of the images have one or two image-only values of the
  subset. Arguments are those of `training_clip`.
  """
  subset = subset_lib.subset_named(subset)
  rng = _generator(seed, _IMAGE, index)
  facts = sampler.sample_image_facts(rng, subset, split)
  scene = sampler.sample_scene(rng, facts, subset)
  return ImageExample(
    frame=renderer.render_image(scene, size),
    caption=grammar.caption(facts, rng, subset),
    facts=facts,
  )
