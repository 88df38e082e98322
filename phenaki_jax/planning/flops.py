"""Count the floating-point operations (FLOPs) of the models.

Only matrix products are counted, with two operations per multiply-add. Norms,
softmax, lookups, the optimizer and rematerialisation are not counted. Attention
is counted in full, without a discount for masks.

The tests compare the formulas with the matrix products of the traced programs.
"""

import dataclasses
import math

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import Conditions
from phenaki_jax.nn.ports import CANVAS_CHANNELS, SCALAR_WIDTH
from phenaki_jax.nn.positions import absolute_features
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig

# Number of position features, by whether they include the latent frame.
POSITION_FEATURES = {
  time: absolute_features(1, 1, 1, time=time).shape[-1]
  for time in (False, True)
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flops:
  """FLOPs of a forward pass and of its backward pass."""

  forward: int
  backward: int

  @property
  def training(self) -> int:
    """Return the FLOPs of both passes."""
    return self.forward + self.backward

  def __add__(self, other: 'Flops') -> 'Flops':
    """Return the sum of both."""
    return Flops(
      forward=self.forward + other.forward,
      backward=self.backward + other.backward,
    )

  def __mul__(self, times: int) -> 'Flops':
    """Return a multiple."""
    return Flops(forward=self.forward * times, backward=self.backward * times)


def dense(
  rows: int, inputs: int, outputs: int, *, learned_input: bool = True
) -> Flops:
  """Count a linear layer.

  Args:
    rows: number of input vectors.
    inputs: width of the input.
    outputs: width of the output.
    learned_input: the input depends on parameters, so that the backward pass
      computes its gradient as well as the kernel's.
  """
  forward = 2 * rows * inputs * outputs
  return Flops(forward=forward, backward=forward * (2 if learned_input else 1))


def attention(rows: int, queries: int, memory: int, width: int) -> Flops:
  """Count the two products of attention, for `rows` sequences."""
  forward = 2 * (2 * rows * queries * memory * width)
  return Flops(forward=forward, backward=2 * forward)


def _layer(rows: int, length: int, width: int, mlp_dim: int) -> Flops:
  """Count a block without cross-attention, for `rows` sequences."""
  tokens = rows * length
  return (
    dense(tokens, width, 4 * width)
    + attention(rows, length, length, width)
    + dense(tokens, width, 2 * mlp_dim)
  )


def _space_time(
  config: TokenizerConfig,
  batch: int,
  grid: tuple[int, int, int],
  spatial_layers: int,
) -> Flops:
  t, h, w = grid
  width, mlp_dim = config.width, config.mlp_dim
  features = POSITION_FEATURES[config.first_frame == 'apart']
  return (
    dense(t * h * w, features, width, learned_input=False)
    + _layer(batch * t, h * w, width, mlp_dim) * spatial_layers
    + _layer(batch * h * w, t, width, mlp_dim) * config.temporal_layers
  )


def _pixels(
  config: TokenizerConfig, batch: int, grid: tuple[int, int, int]
) -> int:
  """Count the pixels that are embedded as patches, or decoded from them."""
  t, h, w = grid
  frames = 1 + (t - 1) * config.tubelet
  if config.first_frame == 'repeated':
    frames = t * config.tubelet
  return batch * frames * h * w * config.patch[0] * config.patch[1]


def encoder(
  config: TokenizerConfig,
  *,
  batch: int,
  frames: int,
  size: tuple[int, int],
  rounded: bool = True,
) -> Flops:
  """Count C-ViViT from pixels to token ids.

  Args:
    config: the tokenizer's sizes.
    batch: number of clips.
    frames: frames of each clip; 1 for an image.
    size: height and width in pixels.
    rounded: to token ids; False: to continuous latents.
  """
  t, h, w = grid = config.grid(frames, size)
  width, tokens = config.width, batch * t * h * w
  flops = dense(_pixels(config, batch, grid), 3, width, learned_input=False)
  layers = config.encoder_spatial_layers
  if layers is None:
    layers = config.spatial_layers
  flops += _space_time(config, batch, grid, layers)
  if config.quantizer == 'fsq':
    # The sum of digits that forms an id is not a matrix product.
    return flops + dense(tokens, width, len(config.fsq_levels))
  # The search for the nearest code is a matrix product without a gradient.
  search = 2 * tokens * config.vq_codes * config.vq_dim * rounded
  flops += dense(tokens, width, config.vq_dim)
  return flops + Flops(forward=search, backward=0)


def decoder(
  config: TokenizerConfig, *, batch: int, frames: int, size: tuple[int, int]
) -> Flops:
  """Count C-ViViT from token ids to pixels; arguments as for `encoder`."""
  t, h, w = grid = config.grid(frames, size)
  width, tokens = config.width, batch * t * h * w
  fsq = config.quantizer == 'fsq'
  flops = dense(tokens, len(config.fsq_levels) if fsq else config.vq_dim, width)
  flops += _space_time(config, batch, grid, config.spatial_layers)
  return flops + dense(_pixels(config, batch, grid), width, 3)


def tokenizer(
  config: TokenizerConfig, *, batch: int, frames: int, size: tuple[int, int]
) -> Flops:
  """Count C-ViViT from pixels to pixels; arguments as for `encoder`."""
  return encoder(config, batch=batch, frames=frames, size=size) + decoder(
    config, batch=batch, frames=frames, size=size
  )


def generator(
  config: GeneratorConfig,
  *,
  batch: int,
  text_length: int,
  text_width: int,
  texts: int | None = None,
  learned_text: bool = True,
  grid: tuple[int, int, int] | None = None,
  conditions: Conditions | None = None,
) -> Flops:
  """Count the masked transformer, without the text encoder.

  Args:
    config: the generator's sizes.
    batch: number of rows.
    text_length: vectors of each text, without those of a prompt.
    text_width: width of a text vector; 0 for a model without text.
    texts: number of distinct texts; one per row by default.
    learned_text: the text encoder is trained as well.
    grid: token grid, if different from the config's.
    conditions: what the ports read of all rows, or its shapes; a time switch
      changes no count.
  """
  grid = grid or config.grid
  t, n, length = grid[0], math.prod(grid[1:]), math.prod(grid)
  width, tokens = config.width, batch * length
  text_length += config.prompt
  text_rows = (batch if texts is None else texts) * text_length
  cross = (
    dense(tokens, width, 2 * width)
    + dense(text_rows, text_width, 2 * width, learned_input=learned_text)
    + attention(batch, length, text_length, width)
  )
  layer = dense(tokens, width, 2 * config.mlp_dim)
  if config.attention == 'factorized':
    layer += _self_attention(config, batch * t, (1, *grid[1:]))
    layer += _self_attention(config, batch * n, (t, 1, 1))
  else:
    layer += _self_attention(config, batch, grid)
  if text_width:
    layer += cross
  flops = layer * config.num_layers
  if conditions is not None:
    flops += _ports(config, conditions, batch, grid, text_width)
  if config.positions == 'rotary':
    flops += dense(length, POSITION_FEATURES[True], width, learned_input=False)
  return flops + dense(tokens, width, config.codebook_size)


def _self_attention(
  config: GeneratorConfig, rows: int, grid: tuple[int, int, int]
) -> Flops:
  """Count the self-attention of rows of a grid."""
  length, width = math.prod(grid), config.width
  flops = dense(rows * length, width, 4 * width)
  flops += attention(rows, length, length, width)
  if config.positions == 'rotary':
    # The distance bias adds features to queries and keys: one for each
    # boundary between neighbouring coordinates of an axis.
    more = 2 * rows * length * length * config.num_heads * (sum(grid) - 3)
    flops += Flops(forward=more, backward=2 * more)
  return flops


def _ports(
  config: GeneratorConfig,
  conditions: Conditions,
  batch: int,
  grid: tuple[int, int, int],
  text_width: int,
) -> Flops:
  """Count the canvas, the second cross-attention, the story and scalars."""
  ports, width, length = config.ports, config.width, math.prod(grid)
  flops = Flops(forward=0, backward=0)
  if conditions.canvas is not None:
    pixels = math.prod(conditions.canvas.rgb.shape[:-1])
    flops += dense(pixels, CANVAS_CHANNELS, width, learned_input=False)
  if conditions.memory:
    entries = conditions.memory.values()
    shapes = [one.values.shape for one in entries]
    told = [one.captions.shape for one in entries if one.captions is not None]
    captions = sum(images * length for _, images, length, *_ in told)
    memory = sum(images * n for _, images, n, *_ in shapes)
    for count, size in ((memory, width), (captions, text_width)):
      if count:
        # Every token also sees an empty entry.
        layer = (
          dense(batch * length, width, 2 * width)
          + dense(batch * count, size, 2 * width)
          + attention(batch, length, count + 1, width)
        )
        flops += layer * (config.num_layers // ports.memory_every)
    if ports.story and told:
      texts = sum(images for _, images, *_ in told) + grid[0]
      flops += dense(batch * texts, text_width, width)
      flops += _layer(batch, texts, width, config.mlp_dim)
  if conditions.scalars:
    gains = 3 if config.attention == 'factorized' else 2
    each = dense(batch, SCALAR_WIDTH, SCALAR_WIDTH, learned_input=False)
    each += dense(batch, SCALAR_WIDTH, SCALAR_WIDTH)
    flops += each * len(conditions.scalars)
    flops += dense(batch, SCALAR_WIDTH, width) * (gains * config.num_layers)
  return flops


def text_encoder(config: TextConfig, *, batch: int) -> Flops:
  """Count the T5 encoder for `batch` prompts of `max_length` ids."""
  length, width = config.max_length, config.width
  inner = config.num_heads * config.head_dim
  layer = (
    dense(batch * length, width, 4 * inner)
    + attention(batch, length, length, inner)
    + dense(batch * length, width, 3 * config.mlp_dim)
  )
  return layer * config.num_layers
