"""Clips with their scores."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from phenaki_jax.generator import Generator
from phenaki_jax.nn.conditions import Conditions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoredClips:
  """Clips, and how good the model takes them to be.

  Attributes:
    frames: uint8 [B, T, H, W, 3].
    likelihood: of each clip, the mean log-probability of its new tokens when
      they were drawn.
    critic: of each clip, the critic's mean log-probability that a new token is
      real; None if the model has no critic.
  """

  frames: np.ndarray
  likelihood: np.ndarray
  critic: np.ndarray | None


@functools.partial(jax.jit, static_argnames='generator')
def criticise(
  generator: Generator,
  params: Any,
  texts: Int[Array, 'B L'],
  ids: Int[Array, 'B t h w'],
  conditions: Conditions | None = None,
) -> Float[Array, 'B t h w']:
  """Return the critic's log-probability that each token is real."""
  encoded = generator.encode(params, texts)
  odds = generator.criticise(params, ids, encoded, conditions=conditions)
  return jax.nn.log_sigmoid(odds)
