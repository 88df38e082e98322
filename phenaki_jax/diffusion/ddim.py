"""Steps of DDIM, which remove noise (Song et al., arXiv 2010.02502)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.diffusion.schedule import Mix
from phenaki_jax.diffusion.targets import Estimate


def ddim_step(
  parts: Estimate,
  *,
  now: Mix,
  then: Mix,
  eta: float = 0.0,
  fresh: Float[Array, '*b'] | None = None,
) -> Float[Array, '*b']:
  """Take a step to a lower level (equations 12 and 16).

  Args:
    parts: the estimated clean values and noise.
    now: the factors of the level of the estimate.
    then: the factors of the lower level.
    eta: share of the noise that is replaced by fresh noise, of that of DDPM.
    fresh: unit noise, if eta is not 0.
  """
  if not eta:
    return then.signal * parts.clean + then.noise * parts.noise
  assert fresh is not None, 'eta needs fresh noise'
  kept = jnp.square(now.signal / then.signal)
  drawn = eta * then.noise / now.noise * jnp.sqrt(jnp.maximum(1 - kept, 0.0))
  rest = jnp.sqrt(jnp.maximum(jnp.square(then.noise) - jnp.square(drawn), 0.0))
  return then.signal * parts.clean + rest * parts.noise + drawn * fresh
