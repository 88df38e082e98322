"""The contract of a world: what prompts ask for, and what frames show.

The reports use nothing else of a world. StoryWorld is read by its oracle
(`evaluation.storyworld`), the sprite world by a trained network
(`evaluation.sprites`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from phenaki_jax.reader.reader import FactReading
from phenaki_jax.types import Split, VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
  """What a prompt asks for.

  Attributes:
    facts: the facts that count, by name.
    prompt: the text.
    held_out: whether training never shows this combination.
  """

  facts: Mapping[str, str]
  prompt: str
  held_out: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """What a clip shows.

  Attributes:
    facts: the reading of each fact. A value of None is not read, or absent.
    x, y: centre of the object or character in each frame, in shares of the
      frame; nan where it was not found.
    box: the pixels of the box around it.
    clean: whether a frame shows exactly one object or character, whole.
  """

  facts: Mapping[str, FactReading]
  x: Float[np.ndarray, 'T']
  y: Float[np.ndarray, 'T']
  box: Bool[np.ndarray, 'T H W']
  clean: Bool[np.ndarray, 'T']

  def words(self, names: Mapping[str, object]) -> str:
    """Return the values of the named facts, for people."""
    return ', '.join(self.facts[name].value or f'{name}?' for name in names)


@runtime_checkable
class World(Protocol):
  """A world whose prompts can be drawn and whose clips can be read."""

  @property
  def name(self) -> str:
    """Return the name of the world, for people."""

  @property
  def fact_names(self) -> tuple[str, ...]:
    """Return the names of the facts, in the order of reports."""

  @property
  def persistent(self) -> tuple[str, ...]:
    """Return the facts that do not change unless a prompt says so."""

  @property
  def changes(self) -> tuple[str, ...]:
    """Return the facts that the prompt of a later scene can change."""

  @property
  def image_only(self) -> tuple[tuple[str, str], ...]:
    """Return each (fact, value) that training shows in images only."""

  def describe(self) -> Mapping[str, object]:
    """Return JSON values that the readings depend on."""

  def read(self, frames: VideoU8) -> Reading:
    """Read a clip that shows a single scene."""

  def expected(self, prompts: Sequence[str]) -> dict[str, str]:
    """Return the facts after the last of the prompts of one take.

    A later prompt changes the facts that it names; one that describes a new
    object or character forgets the others.
    """

  def draw(self, rng: np.random.Generator, split: Split) -> Asked:
    """Draw a prompt of a split: 'heldout', 'train' or 'all'."""

  def draw_with(self, rng: np.random.Generator, fact: str, value: str) -> Asked:
    """Draw a prompt of a training clip, with one image-only value."""

  def draw_story(
    self, rng: np.random.Generator, scenes: int
  ) -> tuple[Asked, ...]:
    """Draw the prompts of a story: in later ones, some facts change."""

  def draw_change(
    self, rng: np.random.Generator, fact: str
  ) -> tuple[Asked, Asked]:
    """Draw two scenes that differ in one fact, which the second names."""

  def jump(
    self,
    moved: Float[np.ndarray, '2'],
    before: Mapping[str, str],
    after: Mapping[str, str],
  ) -> float:
    """Return how far a displacement is from a normal one, in frames.

    Args:
      moved: (x, y) from the last frame of a scene to the first of the next;
        nan gives nan.
      before, after: facts of the two scenes.
    """
