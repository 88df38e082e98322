"""The inversion of DDIM: from clean values to the noise that they come from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.diffusion.noise import NoiseProcess
from phenaki_jax.diffusion.process import Predict
from phenaki_jax.diffusion.schedule import mix_like


def invert(
  process: NoiseProcess,
  predict: Predict,
  x: Float[Array, 'B *r'],
  levels: Float[Array, 'N'],
  *,
  iterations: int = 1,
) -> Float[Array, 'B *r']:
  """Find the noisy values from which DDIM returns given clean ones.

  A step back needs the prediction at its own result. The usual inversion takes
  the one at the values before it; further iterations predict again at the
  result, and approach the exact inverse where steps are small.

  Args:
    process: without `eta` and `limit`, with which steps cannot be undone.
    predict: the network.
    x: the clean values.
    levels: rising from 0, and below 1: values of level 1 tell nothing.
    iterations: predictions in each step.
  """
  assert not process.eta and process.limit is None, 'steps have no inverse'
  levels = jnp.asarray(levels)

  def body(number: Array, x: Array) -> Array:
    low, high = (
      jnp.broadcast_to(levels[number + more], x.shape[:1]) for more in (0, 1)
    )
    below, above = (mix_like(process.schedule, one, x) for one in (low, high))
    ratio = above.signal / below.signal

    def refine(_: Array, y: Array) -> Array:
      noise = process.estimate(predict(y, high), y, high).noise
      return ratio * (x - below.noise * noise) + above.noise * noise

    return jax.lax.fori_loop(0, iterations, refine, x)

  return jax.lax.fori_loop(0, levels.shape[0] - 1, body, x)
