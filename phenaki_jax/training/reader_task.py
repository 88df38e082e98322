"""Train the reader to name the facts of clips and images."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.network import FrameReader, join_frames
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.micro_batches import Divided, Each, split
from phenaki_jax.training.state import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderTask(Task):
  """Train a reader with the cross-entropy of each fact.

  Attributes:
    config: the reader's shape.
  """

  config: ReaderConfig

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters, boxed with their logical names."""
    side = self.config.side
    frames = jnp.zeros((1, side, side, 3), jnp.uint8)
    return FrameReader(self.config).init(rng, frames)['params']

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of a batch and its metrics; nothing is random.

    Facts with a negative label are unknown and not counted.
    """
    del frozen, rng, deterministic
    return self._loss(params, batch)

  def divided(
    self,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    parts: int,
    ways: int,
    each: Each,
  ) -> Divided:
    """Divide a batch; see `micro_batches.Divisible`."""
    del frozen, rng, each
    labels = jnp.concatenate([part['labels'] for part in batch.values()])
    totals = {
      'batches': jnp.float32(parts),
      'known': jnp.sum(labels >= 0, 0, dtype=jnp.float32),
    }
    return Divided(parts=split(batch, parts, ways=ways), totals=totals)

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: dict[str, Any],
    rng: PRNGKeyArray,
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and the metrics."""
    del frozen, rng
    return self._loss(params, part, totals)

  def _loss(
    self,
    params: Any,
    batch: dict[str, Any],
    totals: Mapping[str, Array] | None = None,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    shapes, frames, known = [], [], []
    for name, part in batch.items():
      pixels = part['pixels']
      if name == 'images':
        pixels = pixels[:, None]
      shapes.append(pixels.shape[:2])
      frames.append(pixels.reshape(-1, *pixels.shape[2:]))
      known.append(part['labels'])
    # One pass for the frames of clips and images.
    logits, weights = FrameReader(self.config).apply(
      {'params': params}, jnp.concatenate(frames)
    )
    joined, start = [], 0
    for rows, length in shapes:
      part = slice(start, start + rows * length)
      start = part.stop
      joined.append(
        join_frames(
          logits[part].reshape(rows, length, -1),
          weights[part].reshape(rows, length, -1),
        )
      )
    labels = jnp.concatenate(known)
    total = jnp.zeros(())
    metrics: dict[str, Mean] = {}
    for index, fact in enumerate(joined[0]):
      values = jnp.concatenate([part[fact] for part in joined])
      label = labels[:, index]
      is_known = label >= 0
      log_probs = jax.nn.log_softmax(values)
      picked = jnp.take_along_axis(
        log_probs, jnp.maximum(label, 0)[:, None], axis=1
      )[:, 0]
      errors = Mean.of(-picked, is_known)
      count = errors.count if totals is None else totals['known'][index]
      total = total + errors.sum / jnp.maximum(count, 1.0)
      metrics[f'accuracy/{fact}'] = Mean.of(
        values.argmax(-1) == label, is_known
      )
    batches = 1.0 if totals is None else totals['batches']
    metrics['loss'] = Mean(total, 1.0 / batches)
    return total, jax.lax.stop_gradient(metrics)
