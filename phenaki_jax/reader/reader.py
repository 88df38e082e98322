"""Read the facts of clips and images, with probabilities."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, UInt8

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.lpc import degradation, labels
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.network import FrameReader, join_frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactReading:
  """What was read of one fact.

  Attributes:
    value: the likeliest value; None is absent, or could not be read.
    confidence: in [0, 1]; of this reader, the probability of the value.
    is_sure: whether the confidence reaches the threshold of the fact.
  """

  value: str | None
  confidence: float
  is_sure: bool


Reading = Mapping[str, FactReading]
"""What was read of a clip or an image, by the name of the fact."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reader:
  """Reads facts in frames.

  Attributes:
    config: the shape of the network.
    params: its parameters.
    thresholds: the least probability of a sure reading, by fact; 0 where a
      fact is left out.
  """

  config: ReaderConfig
  params: Any
  thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Return a digest of the config, the thresholds and the weights."""
    flat, metadata = self._content()
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(flat.items()):
      digest.update(f'{name} {array.shape}'.encode())
      digest.update(array.tobytes())
    return digest.hexdigest()

  def read(self, frames: np.ndarray) -> Reading:
    """Read one clip, uint8 [T, H, W, 3], or an image as one frame.

    Raises:
      UserError: the frames are not uint8 [T, H, W, 3], or there are none.
    """
    probabilities = self.probabilities(frames)
    reading = {}
    for fact, part in probabilities.items():
      label = int(part.argmax())
      reading[fact] = FactReading(
        value=labels.value(fact, label),
        confidence=float(part[label]),
        is_sure=float(part[label]) >= self.thresholds.get(fact, 0.0),
      )
    return reading

  def probabilities(
    self, frames: np.ndarray
  ) -> dict[str, Float[np.ndarray, ' classes']]:
    """Return the probability of each label of each fact of a clip."""
    is_rgb = frames.dtype == np.uint8 and frames.shape[-1:] == (3,)
    if not is_rgb or frames.ndim != 4 or not frames.size:
      raise UserError(
        f'frames are {frames.dtype} of shape {frames.shape}; give uint8 RGB '
        'frames [T, H, W, 3], at least one'
      )
    frames = degradation.resize(frames, self.config.side)
    # A power of two, so that few shapes are compiled.
    count = 1 << (len(frames) - 1).bit_length()
    padding = [(0, count - len(frames)), (0, 0), (0, 0), (0, 0)]
    found = self._network(np.pad(frames, padding), len(frames))
    # A compiled function sorts the names.
    return {fact: np.asarray(found[fact][0]) for fact in labels.NUM_CLASSES}

  @functools.cached_property
  def _network(self) -> Any:
    model = FrameReader(self.config)
    params = jax.tree.map(jnp.asarray, self.params)

    def network(frames: UInt8[Array, 'T H W 3'], count: Any) -> Any:
      logits, weights = model.apply({'params': params}, frames)
      is_frame = (jnp.arange(len(frames)) < count)[:, None]
      weights = jnp.where(is_frame, weights, -jnp.inf)
      joined = join_frames(logits[None], weights[None])
      return jax.tree.map(jax.nn.softmax, joined)

    return jax.jit(network)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Write the weights in half precision, the config and the thresholds, as
    one safetensors file."""
    flat, metadata = self._content()
    content = safetensors.numpy.save(flat, metadata)
    replace_file(pathlib.Path(path), content)

  def _content(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the weights as they are written, and the metadata."""
    flat = {
      name: np.asarray(leaf).astype(np.float16)
      for name, leaf in flatten_dict(dict(self.params), sep='/').items()
    }
    config = dataclasses.replace(self.config, sheets='')
    return flat, {
      'config': config_lib.to_json(config),
      'thresholds': json.dumps(dict(self.thresholds)),
    }


def load(path: str | os.PathLike[str]) -> Reader:
  """Open what `Reader.save` wrote.

  Raises:
    UserError: the file is missing or holds no reader.
  """
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      metadata = file.metadata() or {}
      flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = config_lib.from_json(ReaderConfig, metadata['config'])
    thresholds = json.loads(metadata['thresholds'])
  except (OSError, KeyError, safetensors.SafetensorError) as error:
    raise UserError(f'{path} holds no reader: {error}') from error
  params = {name: leaf.astype(np.float32) for name, leaf in flat.items()}
  return Reader(
    config=config,
    params=unflatten_dict(params, sep='/'),
    thresholds=thresholds,
  )
