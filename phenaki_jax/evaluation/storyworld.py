"""StoryWorld as a world of the evaluation, read by its oracle."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from phenaki_jax.evaluation.world import Asked, Reading
from phenaki_jax.reader.reader import FactReading
from phenaki_jax.storyworld import (
  Facts,
  caption,
  grammar,
  is_held_out,
  read_clip,
  sample_facts,
  sample_story,
)
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld.subset import Subset
from phenaki_jax.types import Split, VideoU8

# Of an object to its shape. Rendered frames stay above it, also after H.264.
_CLEAN_SIMILARITY = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryWorld:
  """A `World`.

  Attributes:
    subset: the part of StoryWorld.
    fps: frames per second of the clips.
  """

  subset: Subset
  fps: float = scene_lib.REFERENCE_FPS

  name = 'StoryWorld'
  fact_names = facts_lib.FACT_NAMES
  persistent = ('shape', 'colour', 'size', 'place', 'style')

  def describe(self) -> dict[str, object]:
    """Return the name of the subset."""
    return {'subset': self.subset.name}

  @property
  def changes(self) -> tuple[str, ...]:
    """Return the facts of which clips show several values."""
    several = self.subset.clip_values
    return tuple(fact for fact in self.fact_names if len(several(fact)) > 1)

  @property
  def image_only(self) -> tuple[tuple[str, str], ...]:
    """Return each (fact, value) that the subset shows only in images."""
    return tuple(
      (fact, value)
      for fact in self.fact_names
      for value in self.subset.image_values(fact)
    )

  def read(self, frames: VideoU8) -> Reading:
    """Read a clip; the object of a clean frame has the outline of its shape."""
    found = read_clip(frames, subset=self.subset, fps=self.fps)
    has_outline = found.similarity >= _CLEAN_SIMILARITY
    return Reading(
      facts={
        fact: FactReading(
          value=value,
          confidence=found.confidences[fact],
          is_sure=value is not None,
        )
        for fact, value in found.values.items()
      },
      x=found.x,
      y=found.y,
      box=_boxes(found, frames.shape[1:3]),
      clean=(found.objects == 1) & has_outline,
    )

  def expected(self, prompts: Sequence[str]) -> dict[str, str]:
    """Return the facts after the last of the prompts of one take.

    A prompt without 'it' that names a shape describes a new object.
    """
    facts: dict[str, str] = {}
    for prompt in prompts:
      named = grammar.parse(prompt)
      if 'shape' in named and 'style' in named:
        facts = {}
      facts |= {k: v for k, v in named.items() if isinstance(v, str)}
    several = self.subset.values
    return {fact: v for fact, v in facts.items() if len(several(fact)) > 1}

  def draw(self, rng: np.random.Generator, split: Split) -> Asked:
    """Draw a prompt of a split."""
    facts = sample_facts(rng, self.subset, split)
    return self._asked(facts, caption(facts, rng, self.subset))

  def draw_with(self, rng: np.random.Generator, fact: str, value: str) -> Asked:
    """Draw the facts of a training clip and replace one of them."""
    while True:
      facts = sample_facts(rng, self.subset, 'train').replace(second=None)
      facts = facts.replace(**{fact: value})
      if facts_lib.is_visible(facts):
        return self._asked(facts, caption(facts, rng, self.subset))

  def draw_story(
    self, rng: np.random.Generator, scenes: int
  ) -> tuple[Asked, ...]:
    """Draw a story of any combinations of facts, held out or not.

    Stories of held-out scenes alone would change little but the place.
    """
    story = sample_story(rng, self.subset, scenes, 1, 'all')
    return tuple(self._asked(s.facts, s.prompt) for s in story.scenes)

  def draw_change(
    self, rng: np.random.Generator, fact: str
  ) -> tuple[Asked, Asked]:
    """Draw two scenes that differ in one fact, and say it alone."""
    values = self.subset.clip_values(fact)
    while True:
      facts = sample_facts(rng, self.subset, 'all').replace(second=None)
      changed: dict[str, Any] = {fact: values[int(rng.integers(len(values)))]}
      if size := facts_lib.SIZE_AFTER.get(changed.get('motion', '')):
        changed['size'] = size
      after = facts.replace(**changed)
      is_shown = all(fact in one.visible() for one in (facts, after))
      is_single = grammar.changed_facts(facts, after) == (fact,)
      if is_shown and is_single and facts_lib.is_visible(after):
        prompt = grammar.continuation(facts, after, rng, repeats_motion=False)
        return (
          self._asked(facts, caption(facts, rng, self.subset)),
          self._asked(after, prompt),
        )

  def jump(
    self,
    moved: Float[np.ndarray, '2'],
    before: Mapping[str, str],
    after: Mapping[str, str],
  ) -> float:
    """Return the distance from the closest displacement of either motion."""
    normal = np.concatenate([self._steps(each) for each in (before, after)])
    return float(np.linalg.norm(normal - scene_lib.wrap(moved), axis=-1).min())

  def _steps(self, values):
    """Return normal displacements of an object between consecutive frames."""
    facts = Facts(shape='square', colour='red', motion=values['motion'])
    scene = scene_lib.Scene(facts=facts)
    track = scene_lib.track(scene, 0, scene_lib.BOUNCE_PERIOD * 2, self.fps)
    return scene_lib.wrap(np.stack([np.diff(track.x), np.diff(track.y)], -1))

  def _asked(self, facts, prompt):
    several = self.subset.values
    return Asked(
      facts={f: v for f, v in facts.visible().items() if len(several(f)) > 1},
      prompt=prompt,
      held_out=is_held_out(facts),
    )


def _boxes(found, size):
  """Return the pixels of the square around the object, on the torus."""
  height, width = size
  inside = []
  for centres, length in ((found.y, height), (found.x, width)):
    places = (np.arange(length) + 0.5) / length
    distance = np.abs(scene_lib.wrap(places - centres[:, None]))
    reach = found.radius * min(size) / length
    inside.append(distance <= reach[:, None])
  rows, columns = inside
  return rows[:, :, None] & columns[:, None, :]
