"""The masked transformer (Phenaki, section 2.2).

It sees a grid of tokens of which some are hidden, and text, and predicts
every token. All tokens of a row attend to all others of their segment: a
clip is one segment, and a row packed with images has one segment per image,
each with its own text.

Later conditioning enters at three places: signals aligned with the grid are
added where the token and position embeddings meet, further memory is read
beside the text in each block, and scalars join the position features.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.masked_transformer.codes import CodeTable
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.blocks import Stack
from phenaki_jax.nn.layers import Dense, RMSNorm
from phenaki_jax.nn.positions import (
  absolute_features,
  axis_sides,
  grid_coordinates,
  rotary_angles,
)
from phenaki_jax.sharding import constrain, logical


class MaskedTransformer(nn.Module):
  """Predict the tokens of a grid from those shown and from text."""

  config: GeneratorConfig

  @nn.compact
  def __call__(
    self,
    ids: Int[Array, 'B t h w'],
    text: Float[Array, 'B S L E'],
    text_mask: Bool[Array, 'B S L'],
    segments: Int[Array, 'B t'] | None = None,
    moments: Int[Array, 'B t'] | None = None,
  ) -> Float[Array, 'B t h w V']:
    """Return the logits of every token.

    Args:
      ids: token ids; `codebook_size` stands for a hidden token.
      text: text vectors, S = 1 for one text a row, or t for one of each
        segment, of which segment s reads text[:, s].
      text_mask: True at text vectors that are no padding.
      segments: segment of each latent step; steps of different segments do
        not see each other. None: one segment.
      moments: where in a clip each latent step stands, 0 to t - 1. None:
        where it stands in its row.

    Raises:
      ValueError: learned positions and another grid than the config's.
    """
    config = self.config
    batch, t, h, w = ids.shape
    dtype = jnp.dtype(config.dtype)
    codes = {
      'num': config.codebook_size,
      'features': config.width,
      'levels': config.code_levels,
    }
    # As large as the positions added to it: with the usual 0.02 a small model
    # learns for hundreds of steps before it tells one token from another.
    table = CodeTable(**codes, name='tokens')()
    hidden = self.param(
      'hidden_embedding',
      logical(nn.initializers.normal(1.0), None, 'embed'),
      (1, config.width),
      jnp.float32,
    )
    x = jnp.concatenate([table, hidden]).astype(dtype)[ids]
    places = self._places(t, h, w).astype(dtype)
    x = x + (places[None] if moments is None else places[moments])
    x = constrain(x, 'batch', 'frames', None, None, None)

    inputs = {}
    if segments is not None:
      same = segments[:, :, None] == segments[:, None, :]
      inputs['mask'] = jnp.repeat(
        jnp.repeat(same, h * w, axis=1), h * w, axis=2
      )
    head_dim = config.width // config.num_heads
    if config.positions == 'rotary':
      # Only differences matter, and packed segments do not see each other,
      # so that angles by the place in the row serve every segment.
      grid = grid_coordinates(t, h, w)
      inputs['angles'] = jnp.asarray(rotary_angles(grid, head_dim))
      inputs['sides'] = jnp.asarray(axis_sides(grid))
    if text.shape[1] > 1:
      if segments is None:
        raise ValueError(
          f'{text.shape[1]} texts a row need segments that say which latent '
          'step reads which text.'
        )
      own = jnp.maximum(segments, 0)[:, :, None]
      text = jnp.take_along_axis(text, own[..., None], axis=1)
      text_mask = jnp.take_along_axis(text_mask, own, axis=1)

    x = x.reshape(batch, t, h * w, config.width)
    x = Stack(
      config.num_layers,
      config.num_heads,
      head_dim,
      config.mlp_dim,
      config.scan,
      config.remat,
      dtype,
      name='blocks',
    )(x, **inputs, text=text.astype(dtype), text_mask=text_mask)
    x = RMSNorm(name='norm')(x)
    table = CodeTable(**codes, stddev=0.1, name='logits')()
    logits = config.width**-0.5 * jnp.matmul(
      x, table.astype(dtype).T, preferred_element_type=jnp.float32
    )
    bias = self.param(
      'logits_bias',
      logical(nn.initializers.zeros, None),
      (config.codebook_size,),
      jnp.float32,
    )
    logits = logits + jnp.broadcast_to(bias, logits.shape)
    return logits.reshape(batch, t, h, w, -1)

  def _places(self, t: int, h: int, w: int) -> Float[Array, 't h w D']:
    """Embed each place of the grid."""
    config = self.config
    if config.positions == 'learned':
      if (t, h, w) != config.grid:
        raise ValueError(
          f'learned positions fit the grid {config.grid} only, not '
          f'{(t, h, w)}; use positions="rotary" for other sizes.'
        )
      return self.param(
        'positions',
        logical(nn.initializers.normal(0.02), 'frames', None, None, 'embed'),
        (t, h, w, config.width),
        jnp.float32,
      )
    return Dense(config.width, (None, 'embed'), hidden=False, name='place')(
      jnp.asarray(absolute_features(t, h, w))
    ).reshape(t, h, w, config.width)
