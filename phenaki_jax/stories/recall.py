"""What a story remembers: the first frames of earlier scenes, in slots."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.earlier_scenes import recalled
from phenaki_jax.sampling.history import History
from phenaki_jax.stories.story import Story
from phenaki_jax.types import ImageU8


def history_slots(maker: Any) -> int:
  """Return how many earlier scenes the clips of a model see; 0 for none."""
  return int(getattr(maker, 'history_slots', 0))


class Recall:
  """Keeps the first frames that later scenes of stories are shown.

  Which scenes these are follows from the prompts (see `earlier_scenes`). Their
  number is bounded, however long the stories are.
  """

  def __init__(self, maker: Any, stories: Sequence[Story]):
    """Choose the scenes; no frame is there yet.

    Args:
      maker: the model, which may have no slots.
      stories: resolved stories, one for each row of a batch.
    """
    self._slots = history_slots(maker)
    self._prompts = [[s.prompt for s in story.scenes] for story in stories]
    self._chosen = [recalled(tuple(p), self._slots) for p in self._prompts]
    self._kept: list[dict[int, ImageU8]] = [{} for _ in stories]
    self._size = stories[0].size or (0, 0)

  @property
  def num_frames(self) -> int:
    """Return how many frames are kept, of all stories together."""
    return sum(map(len, self._kept))

  def of(self, scene: int) -> History | None:
    """Return what the clips of a scene see; None for a model without slots."""
    if not self._slots:
      return None
    shape = (len(self._kept), self._slots, *self._size, 3)
    frames = np.zeros(shape, np.uint8)
    captions = []
    for row, chosen in enumerate(self._chosen):
      for slot, number in enumerate(chosen[scene]):
        frames[row, slot] = self._kept[row][number]
      captions.append(tuple(self._prompts[row][x] for x in chosen[scene]))
    return History(frames=frames, captions=tuple(captions))

  def add(self, scene: int, frames: UInt8[np.ndarray, 'B H W 3']) -> None:
    """Keep the first frames of a scene, and forget what no later one sees."""
    for chosen, kept, frame in zip(
      self._chosen, self._kept, frames, strict=True
    ):
      kept[scene] = frame.copy()
      wanted = {number for later in chosen[scene + 1 :] for number in later}
      for number in kept.keys() - wanted:
        del kept[number]
