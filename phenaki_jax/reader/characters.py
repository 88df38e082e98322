"""Find the characters of frames by a trained network."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, UInt8
from PIL import Image

from phenaki_jax.data.transforms import fit
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.network import CharacterNetwork
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharacterReader:
  """Says which characters of a set a frame shows.

  Attributes:
    config: the shape of the network.
    names: the characters, in the order of the columns.
    params: its parameters.
  """

  config: ReaderConfig
  names: tuple[str, ...]
  params: Any

  def read(self, frames: VideoU8) -> Bool[np.ndarray, 'T characters']:
    """Return whether the probability of each character is at least 0.5.

    The square in the centre of a frame is read, as in training.
    """
    size = (self.config.side, self.config.side)
    frames = np.stack([fit(Image.fromarray(frame), size) for frame in frames])
    # A power of two, so that few shapes are compiled.
    count = 1 << (len(frames) - 1).bit_length()
    padding = [(0, count - len(frames)), (0, 0), (0, 0), (0, 0)]
    found = self._network(self.params, np.pad(frames, padding))
    return np.asarray(found)[: len(frames)]

  @functools.cached_property
  def _network(self) -> Any:
    model = CharacterNetwork(self.config, len(self.names))

    def network(params: Any, frames: UInt8[Array, 'T H W 3']) -> Array:
      return model.apply({'params': params}, jnp.asarray(frames)) >= 0

    return jax.jit(network)
