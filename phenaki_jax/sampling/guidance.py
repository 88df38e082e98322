"""Classifier-free and temporal guidance, and how the former's scale changes.

Both are linear in what a network predicts, logits or the v of a diffusion.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.sampling.config import GuidanceSchedule

SCHEDULES: dict[GuidanceSchedule, Callable[[Array], Array]] = {
  'constant': jnp.ones_like,
  'linear': lambda progress: progress,
  'cosine': lambda progress: 0.5 - 0.5 * jnp.cos(jnp.pi * progress),
}
"""Each maps progress in [0, 1] to a share of the scale.

Early tokens are drawn with little guidance under 'linear' (Muse, arXiv
2301.00704, section 2.7), which keeps them diverse, and under 'cosine', which
rises slowly at both ends.
"""


def guide(
  conditional: Float[Array, 'B *r'],
  unconditional: Float[Array, 'B *r'],
  scale: Float[Array, 'B'],
  still: Float[Array, 'B *r'] | None = None,
  time_scale: Float[Array, 'B'] | None = None,
) -> Float[Array, 'B *r']:
  """Move the conditional prediction away from other ones.

  With w = 1 + scale, it is the temporal guidance of Gen-1 (arXiv 2302.03011,
  section 3.4): p + time_scale * (u - p) + w * (c - u).

  Args:
    conditional: c, with the text.
    unconditional: u, without the text, and without the content and the history
      of the memory (see `nn.conditions.unconditional`).
    scale: of this guidance. Scale 0 returns the conditional prediction.
      This is the definition under which Phenaki's smallest scale, 0.1, is a
      weak guidance.
    still: p, as u, and with the layers over time off; None: there is no
      temporal guidance.
    time_scale: of the temporal guidance; 1 is none, more makes frames follow
      each other more smoothly, less makes them flicker.

  Returns:
    c + scale * (c - u) + (time_scale - 1) * (u - p).
  """
  shape = (-1,) + (1,) * (conditional.ndim - 1)

  def weighed(scale: Array, one: Array, other: Array) -> Array:
    weight = jnp.broadcast_to(scale.reshape(shape), one.shape)
    return weight * (one - other)

  guided = conditional + weighed(scale, conditional, unconditional)
  if still is None:
    return guided
  assert time_scale is not None, 'temporal guidance needs its scale'
  return guided + weighed(time_scale - 1.0, unconditional, still)
