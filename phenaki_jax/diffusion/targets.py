"""What a denoising network predicts: the noise, or the velocity.

With noisy values x = signal * clean + noise_factor * noise, the velocity is
signal * noise - noise_factor * clean (Salimans and Ho, arXiv 2202.00512,
appendix D). Each can be computed from any other and x.
"""

from typing import Literal, no_type_check

import flax.struct
from jaxtyping import Array, Float

from phenaki_jax.diffusion.schedule import Mix

Target = Literal['noise', 'velocity']


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Estimate:
  """The clean values and the noise of which noisy values are made."""

  clean: Float[Array, '*b']
  noise: Float[Array, '*b']


def target_of(target: Target, parts: Estimate, mix: Mix) -> Float[Array, '*b']:
  """Return what a network should predict.

  Args:
    target: what it predicts.
    parts: the true clean values and noise.
    mix: the factors, in the shape of the values.
  """
  if target == 'noise':
    return parts.noise
  return mix.signal * parts.noise - mix.noise * parts.clean


def estimate(
  target: Target, output: Float[Array, '*b'], x: Float[Array, '*b'], mix: Mix
) -> Estimate:
  """Return the clean values and the noise that a prediction implies.

  Args:
    target: what the network predicts.
    output: its prediction.
    x: the noisy values.
    mix: the factors, in the shape of the values.
  """
  if target == 'noise':
    return Estimate(clean=(x - mix.noise * output) / mix.signal, noise=output)
  return Estimate(
    clean=mix.signal * x - mix.noise * output,
    noise=mix.noise * x + mix.signal * output,
  )
