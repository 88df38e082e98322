"""The settings of the transformer blocks of both models."""

from typing import Literal

from pydantic import PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError

MemoryRole = Literal['source', 'history', 'content', 'character']
Scalar = Literal['fps', 'level']
AttentionKernel = Literal['auto', 'xla', 'splash', 'cudnn']


@validated
class PortsConfig:
  """What a network reads beside its input and its texts; nothing by default.

  Every port starts at zero: added to a trained network, it changes no output
  (see `nn.ports`).

  Attributes:
    canvas: whether pixels that are known are read, with a mask and with depth.
    patch: frames, rows and columns of a patch of the canvas; taken from the
      tokenizer.
    memory: roles of the images and vectors that a second cross-attention
      reads.
    memory_every: that cross-attention is in every such block, from the end of
      the first so many on; 1 with `scan`.
    memory_slots: number of images that one role tells apart.
    story: whether the captions of the history are also read as one vector for
      each latent frame (see `nn.story_encoder`).
    scalars: numbers that scale the norms: 'fps', frames per second; 'level',
      how degraded a canvas is.
  """

  canvas: bool = False
  patch: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
  memory: tuple[MemoryRole, ...] = ()
  memory_every: PositiveInt = 3
  memory_slots: PositiveInt = 8
  story: bool = False
  scalars: tuple[Scalar, ...] = ()

  def __post_init__(self) -> None:
    """Check that there are captions for the story encoder."""
    if self.story and 'history' not in self.memory:
      raise UserError(
        'ports.story is True, which reads the captions of the history, but '
        f"ports.memory is {self.memory}; add 'history' to it"
      )

  @property
  def is_used(self) -> bool:
    """Return whether there is any port."""
    return bool(self.canvas or self.memory or self.scalars)

  def extends(self, other: 'PortsConfig') -> bool:
    """Return whether a network gets these ports by adding some to others."""
    return (
      self.canvas >= other.canvas
      and other.patch in (None, self.patch)
      and set(self.memory) >= set(other.memory)
      and self.story >= other.story
      and set(self.scalars) >= set(other.scalars)
      and (
        not other.memory
        or (self.memory_every, self.memory_slots)
        == (other.memory_every, other.memory_slots)
      )
    )


@validated
class TransformerConfig:
  """The shape of the transformer blocks, and how they are computed.

  Attributes:
    width: model width.
    num_heads: attention heads; the head width is width / num_heads.
    mlp_dim: hidden width of the MLPs.
    scan: compile one block and loop over it, so that the compile time does
      not grow with depth; unrolled blocks run faster on a CPU.
    remat: what the backward pass recomputes: 'none' nothing, 'matmuls' all
      but the matrix products, 'full' everything.
    attention_kernel: what computes self-attention: 'xla', the fused 'splash'
      (TPU) or 'cudnn' (GPU), or 'auto', the best for the platform and the
      layer. They differ in rounding alone.
    dtype: dtype of the computation; parameters are always float32.
  """

  width: PositiveInt = 512
  num_heads: PositiveInt = 8
  mlp_dim: PositiveInt = 2048
  scan: bool = False
  remat: Literal['none', 'matmuls', 'full'] = 'none'
  attention_kernel: AttentionKernel = 'auto'
  dtype: Literal['float32', 'bfloat16'] = 'float32'

  def __post_init__(self) -> None:
    """Check that the heads divide the width."""
    if self.width % self.num_heads:
      raise UserError(
        f'width {self.width} must be a multiple of num_heads {self.num_heads}'
      )

  @property
  def head_dim(self) -> int:
    """Return the width of an attention head."""
    return self.width // self.num_heads
