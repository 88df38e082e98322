"""What a denoising network reads beside the noisy values: its ports.

The canvas has the rows and columns of the values. In pixels its channels are
known RGB (3), whether it is known (1), and two of zeros, which once were for
depth; in latents they are known latents, and whether they are known. Depth,
images and further scalars are read by the ports of all networks (`nn.ports`).
"""

from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.conditions import Conditions as PortConditions


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Conditions:
  """What is given of a batch of clips.

  Attributes:
    canvas: see above; None is one of zeros, with nothing known.
    scalars: values near [0, 1], by their names in the config.
    text: vectors of the text of each clip; None reads no text.
    text_mask: True where they are not padding.
    time: True at clips in which the layers over time are on; None switches them
      off in all, as for images.
    ports: what the ports of `diffusion.ports` read; absent parts change
      nothing.
  """

  canvas: Float[Array, 'B T H W canvas'] | None = None
  scalars: dict[str, Float[Array, 'B']] = flax.struct.field(
    default_factory=dict
  )
  text: Float[Array, 'B L E'] | None = None
  text_mask: Bool[Array, 'B L'] | None = None
  time: Bool[Array, 'B'] | None = None
  ports: PortConditions | None = None


def pixel_canvas(
  pixels: Float[Array, 'B T H W C'], known: Bool[Array, 'B T H W']
) -> Float[Array, 'B T H W canvas']:
  """Return a canvas that shows known pixels."""
  mask = known[..., None].astype(pixels.dtype)
  shown = pixels * jnp.broadcast_to(mask, pixels.shape)
  empty = jnp.zeros((*mask.shape[:-1], 2), pixels.dtype)
  return jnp.concatenate([shown, mask, empty], -1)


def latent_canvas(
  latents: Float[Array, 'B t h w C'], known: Bool[Array, 'B t h w']
) -> Float[Array, 'B t h w canvas']:
  """Return a canvas that shows known latents."""
  mask = known[..., None].astype(latents.dtype)
  shown = latents * jnp.broadcast_to(mask, latents.shape)
  return jnp.concatenate([shown, mask], -1)
