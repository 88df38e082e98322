"""Count the operations of the space-time U-Net, as `flops` does of the others.

A convolution is counted as the matrix product that it is, with the padding at
the edges of a frame.
"""

import dataclasses
import math
from collections.abc import Iterator

from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.unet import NUM_FEATURES
from phenaki_jax.nn.ports import CANVAS_CHANNELS
from phenaki_jax.planning.flops import Flops, attention, dense


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
  """A residual block, and what it computes on.

  Attributes:
    inputs: channels of its input.
    outputs: channels of its output.
    positions: rows times columns of a frame.
    has_attention: whether attention follows.
  """

  inputs: int
  outputs: int
  positions: int
  has_attention: bool


def blocks(config: DiffusionConfig, size: tuple[int, int]) -> Iterator[Block]:
  """Yield the residual blocks of a network, in order.

  Args:
    config: the network.
    size: rows and columns of the values.
  """
  stages = len(config.widths)
  positions = size[0] * size[1] // config.patch**2

  def block(inputs: int, stage: int) -> Block:
    return Block(
      inputs=inputs,
      outputs=config.widths[stage],
      positions=positions // 4**stage,
      has_attention=stage >= stages - config.attention,
    )

  down = [stage for stage in range(stages) for _ in range(config.blocks)]
  inputs = config.widths[0]
  for stage in (*down, stages - 1):
    yield block(inputs, stage)
    inputs = config.widths[stage]
  for stage in reversed(down):
    yield block(inputs + config.widths[stage], stage)
    inputs = config.widths[stage]


def unet(
  config: DiffusionConfig,
  *,
  batch: int,
  grid: tuple[int, int, int],
  text_length: int,
  text_width: int,
  over_time: bool = True,
  learned_text: bool = True,
) -> Flops:
  """Count the U-Net, without the text encoder, scalars, captions and story.

  Args:
    config: the network.
    batch: number of clips, or of images.
    grid: frames, rows and columns of the values.
    text_length: vectors of each text, without those of a prompt.
    text_width: width of a text vector.
    over_time: whether the layers over time are on in any clip; they are then
      computed for all.
    learned_text: the text encoder is trained as well.
  """
  frames, *size = grid
  text_length += config.prompt
  wide, side = config.condition_width, config.patch**2
  own = batch * frames * size[0] * size[1] // side

  def conv(rows: int, inputs: int, outputs: int, *, learned: bool) -> Flops:
    found = dense(rows, 9 * inputs, outputs, learned_input=learned)
    return found + over(rows, outputs)

  def over(rows: int, width: int) -> Flops:
    return dense(rows, 3 * width, width) * int(over_time)

  first, channels = config.widths[0], side * config.channels
  canvas = 9 * side * config.canvas_channels
  scalars = 1 + len(config.scalars)
  flops = (
    dense(batch, NUM_FEATURES, wide, learned_input=False) * scalars
    + conv(own, channels, first, learned=False)
    + dense(own, canvas, first, learned_input=False)
    + conv(own, first, channels, learned=True)
  )
  ports, attended = config.ports, 0
  if ports.patch:
    pixels = CANVAS_CHANNELS * math.prod(ports.patch)
    flops += dense(own, pixels, first, learned_input=False)
  images = sum(
    ports.memory_slots if x in ('history', 'character') else 1
    for x in ports.memory
  )
  remembered = images * size[0] * size[1] // config.divisor**2
  flops += dense(
    batch * remembered,
    config.image_width,
    config.widths[-1],
    learned_input=False,
  )
  for block in blocks(config, (size[0], size[1])):
    inputs, width, n = block.inputs, block.outputs, block.positions
    rows = batch * frames * n
    flops += dense(batch, wide, 2 * (inputs + width))
    flops += conv(rows, inputs, width, learned=True)
    flops += conv(rows, width, width, learned=True)
    if inputs != width:
      flops += dense(rows, inputs, width)
    if not block.has_attention:
      continue
    flops += dense(rows, width, 4 * width)
    flops += attention(batch * frames, n, n, width)
    if over_time:
      flops += dense(rows, width, 4 * width)
      flops += attention(batch * n, frames, frames, width)
    if config.reads_text:
      text = batch * text_length
      flops += dense(rows, width, 2 * width)
      flops += dense(text, text_width, 2 * width, learned_input=learned_text)
      flops += attention(batch, frames * n, text_length, width)
    attended += 1
    if images and attended % ports.memory_every == 0:
      flops += dense(rows, width, 2 * width)
      flops += dense(batch * remembered, config.widths[-1], 2 * width)
      flops += attention(batch, frames * n, remembered, width)
    flops += dense(rows, width, 2 * config.mlp_ratio * width)
  return flops


def kept(config: DiffusionConfig, size: tuple[int, int]) -> int:
  """Estimate the numbers that the backward pass keeps of each frame.

  Args:
    config: the network.
    size: rows and columns of the values.
  """
  total = largest = 0
  for block in blocks(config, size):
    each = {
      # The input alone; with the products over time; and with the results of
      # convolutions, norms and activation functions.
      'full': block.inputs,
      'matmuls': block.inputs + 2 * block.outputs,
      'none': 4 * block.inputs + 7 * block.outputs,
    }
    mlp = config.mlp_ratio if block.has_attention else 0
    if block.has_attention:
      heads = block.outputs
      each['full'] += heads
      each['matmuls'] += (11 + mlp) * heads
      each['none'] += (20 + 4 * mlp) * heads
    total += block.positions * each[config.remat]
    largest = max(largest, block.positions * each['none'])
  # One block is computed again, unless all is kept.
  return total + (largest if config.remat != 'none' else 0)
