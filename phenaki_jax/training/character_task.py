"""Train the reader to find the characters of the frames of stories."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from phenaki_jax.reader.config import CharactersConfig, ReaderConfig
from phenaki_jax.reader.network import CharacterNetwork
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharacterTask(Task):
  """Train a reader with the binary cross-entropy of each character.

  Attributes:
    config: the reader's shape.
    characters: the labels.
  """

  config: ReaderConfig
  characters: CharactersConfig

  def init(self, rng: Key[Array, '']) -> Any:
    """Create the parameters, boxed with their logical names."""
    side = self.config.side
    frames = jnp.zeros((1, side, side, 3), jnp.uint8)
    return self._network.init(rng, frames)['params']

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: Key[Array, ''],
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of a batch and its metrics; nothing is random.

    A character is found if its probability is at least 0.5. `f1` pools all
    characters (micro), and `frame_accuracy` is the share of the frames whose
    characters are all right.
    """
    del frozen, rng, deterministic
    images = batch['images']
    logits = self._network.apply({'params': params}, images['pixels'])
    shown = images['labels'] > 0
    errors = optax.sigmoid_binary_cross_entropy(logits, shown)
    found = logits >= 0
    both = jnp.sum(found & shown, dtype=jnp.float32)
    either = jnp.sum(found, dtype=jnp.float32) + jnp.sum(
      shown, dtype=jnp.float32
    )
    metrics = {
      'loss': Mean.of(errors),
      # Twice the true positives over predicted and actual ones: the F1 of all
      # batches together, which is no mean of theirs.
      'f1': Mean(sum=2 * both, count=either),
      'frame_accuracy': Mean.of((found == shown).all(-1)),
    }
    return errors.mean(), jax.lax.stop_gradient(metrics)

  @property
  def _network(self) -> CharacterNetwork:
    return CharacterNetwork(self.config, len(self.characters.names))
