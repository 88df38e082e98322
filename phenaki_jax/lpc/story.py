"""Stories of one character: consecutive scenes, each at one place."""

import dataclasses

import numpy as np

from phenaki_jax.lpc import facts as facts_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
  """One scene of a story.

  Attributes:
    facts: what the scene shows.
    prompt: the text that describes it.
    frames: number of frames, at least 1.
  """

  facts: facts_lib.Facts
  prompt: str
  frames: int

  def __post_init__(self):
    if self.frames < 1:
      raise ValueError(f'a scene has {self.frames} frames, not at least 1')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """A story; a clip or an image is a story of one scene.

  Attributes:
    scenes: the scenes, at least one.
    x, y: left upper corner of the character in the first frame, in pixels.
  """

  scenes: tuple[Scene, ...]
  x: int
  y: int

  def __post_init__(self):
    if not self.scenes:
      raise ValueError('a story has no scenes')

  @property
  def spans(self) -> tuple[tuple[int, int], ...]:
    """Return the frames [start, stop) of each scene."""
    stops = np.cumsum([scene.frames for scene in self.scenes])
    return tuple(
      (int(stop) - scene.frames, int(stop))
      for scene, stop in zip(self.scenes, stops, strict=True)
    )
