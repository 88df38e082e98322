"""Earlier scenes of a story, in the memory of a generator (AR-LDM)."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from phenaki_jax.nn.conditions import (
  Conditions,
  Entries,
  as_values,
  earlier,
)
from phenaki_jax.sampling.conditions import Given


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class History:
  """What clips are shown of the earlier scenes of their stories.

  Attributes:
    frames: first frame of each scene, in order; the slots after the last one
      are padding, whose content is never read.
    captions: prompts of these scenes, of each clip; at most one for each slot.
  """

  frames: UInt8[np.ndarray, 'B slots H W 3']
  captions: tuple[tuple[str, ...], ...]

  def __post_init__(self) -> None:
    """Check that there are no more captions than slots."""
    batch, slots = self.frames.shape[:2]
    assert batch == len(self.captions)
    assert max(map(len, self.captions)) <= slots

  def of(self, index: int) -> 'History':
    """Return the history of one clip."""
    return History(
      frames=self.frames[index : index + 1],
      captions=self.captions[index : index + 1],
    )

  @property
  def padded_captions(self) -> list[str]:
    """Return B * slots captions; those of padding are empty."""
    slots = self.frames.shape[1]
    return [
      caption
      for given in self.captions
      for caption in (*given, *[''] * (slots - len(given)))
    ]


def with_history(
  given: Given,
  history: History,
  encode: Callable[[np.ndarray], np.ndarray],
  tokenize: Callable[[list[str]], Array],
) -> Given:
  """Add a history, which all latent frames of the clips see.

  Args:
    given: what else is known of the clips.
    history: the earlier scenes.
    encode: returns uint8 frames [N, H, W, 3] as token ids [N, h, w], or as
      vectors [N, n, D].
    tokenize: returns the token ids of captions, [N, L].
  """
  frames = history.frames
  batch, slots = frames.shape[:2]
  index = jnp.broadcast_to(jnp.arange(slots), (batch, slots))
  count = jnp.asarray([len(captions) for captions in history.captions])
  # The clips show the scene after those of their history.
  scenes = jnp.broadcast_to(count[:, None], (batch, given.ids.shape[1]))
  images = encode(frames.reshape(batch * slots, *frames.shape[2:]))
  entries = Entries(
    values=as_values(jnp.asarray(images), batch, slots),
    slots=index,
    visible=earlier(scenes, index),
    captions=tokenize(history.padded_captions).reshape(batch, slots, -1),
  )
  conditions = given.conditions or Conditions()
  memory = {**conditions.memory, 'history': entries}
  return dataclasses.replace(
    given, conditions=dataclasses.replace(conditions, memory=memory)
  )
