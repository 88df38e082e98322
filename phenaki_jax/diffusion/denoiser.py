"""The denoiser: a U-Net with its text encoder.

It is to diffusion what `generator.py` is to masking. Training and sampling use
the same functions.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax.diffusion.conditions import Conditions
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.unet import UNet
from phenaki_jax.generator import (
  EncodedTexts,
  Texts,
  encode_texts,
  init_encoder,
  init_prompt,
  remember,
  with_prompt,
)
from phenaki_jax.nn.conditions import Conditions as PortConditions
from phenaki_jax.nn.conditions import blank
from phenaki_jax.text.config import TextConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser:
  """The networks; their parameters are in 'unet' and 'text'.

  There is no 'text' if the network reads none, or if its encoder is frozen.
  Those of added words and of a prompt, if any, are in 'words' and 'prompt'.

  Attributes:
    config: settings of the model.
    text: settings of the text encoder.
  """

  config: DiffusionConfig
  text: TextConfig

  def init(self, rng: PRNGKeyArray) -> dict[str, Any]:
    """Create the parameters, boxed with logical names."""
    of_text, of_unet = jax.random.split(rng)
    config = self.config
    side = config.divisor
    given = Conditions(scalars={name: jnp.zeros(1) for name in config.scalars})
    ports = blank(
      config.ports,
      (2, side // config.patch, side // config.patch),
      text_width=self.text.width if config.reads_text else 0,
      image_width=config.image_width,
    )
    given = dataclasses.replace(given, ports=ports)
    params: dict[str, Any] = {}
    if config.reads_text:
      ids = jnp.ones((1, self.text.max_length), jnp.int32)
      shape = (*ids.shape, self.text.width)
      given = dataclasses.replace(
        given, text=jnp.zeros(shape), text_mask=ids > 0
      )
      if not self.text.is_frozen:
        params = init_encoder(self.text, of_text, ids)
      of_prompt = jax.random.fold_in(of_text, 1)
      params |= init_prompt(config.prompt, of_prompt, width=self.text.width)
    x = jnp.zeros((1, 2, side, side, config.channels))
    params['unet'] = UNet(config).init(of_unet, x, jnp.zeros(1), given)[
      'params'
    ]
    return params

  def encode(
    self, params: Any, texts: Texts, dropout: PRNGKeyArray | None = None
  ) -> EncodedTexts:
    """Encode texts; vectors that are given are returned as they are.

    Args:
      params: parameters of all networks.
      texts: token ids or vectors of the texts.
      dropout: key of the encoder's dropout; None switches dropout off.
    """
    return encode_texts(self.text, params, texts, dropout)

  def remember(
    self, params: Any, ports: PortConditions | None
  ) -> PortConditions | None:
    """Encode the captions of a history, unless they are vectors already."""
    encode = functools.partial(self.encode, params)
    return remember(ports, encode if self.config.reads_text else None)

  def predict(
    self,
    params: Any,
    x: Float[Array, 'B T H W C'],
    level: Float[Array, 'B'],
    given: Conditions,
  ) -> Float[Array, 'B T H W C']:
    """Predict the target of the process in noisy clips."""
    given = dataclasses.replace(given, ports=self.remember(params, given.ports))
    if given.text is not None and given.text_mask is not None:
      texts = EncodedTexts(vectors=given.text, mask=given.text_mask)
      texts = with_prompt(self.config.prompt, params, texts)
      given = dataclasses.replace(
        given, text=texts.vectors, text_mask=texts.mask
      )
    return UNet(self.config).apply({'params': params['unet']}, x, level, given)
