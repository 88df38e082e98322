"""The shape of the text encoder, and the length of its input."""

from typing import Annotated

from pydantic import Field, PositiveInt

from phenaki_jax.config import Rate, validated
from phenaki_jax.errors import UserError


@validated
class TextConfig:
  """The shape of a T5 1.1 encoder and the length of its input.

  Attributes:
    vocab_size: rows of the embedding table. A vocabulary may use fewer (T5
      rounds 32,100 pieces up to 32,128 rows), never more; ids 0, 1 and 2 are
      padding, end of text and unknown.
    width: E, the width of the embeddings.
    num_layers: number of encoder layers.
    num_heads: K, attention heads per layer.
    head_dim: d, width per head; `num_heads * head_dim` may differ from
      `width`.
    mlp_dim: F, hidden width of the gated MLP.
    max_length: L, ids per caption or prompt, including the end-of-text id.
    dropout: rate in [0, 1), used only in training.
    relative_buckets: number of relative-position buckets, a multiple of 4:
      half for each direction, and half of that for exact distances.
    relative_max_distance: distance in ids from which all share a bucket; above
      the number of exact distances.
  """

  vocab_size: Annotated[int, Field(ge=4)] = 256
  width: PositiveInt = 128
  num_layers: PositiveInt = 2
  num_heads: PositiveInt = 4
  head_dim: PositiveInt = 32
  mlp_dim: PositiveInt = 256
  max_length: PositiveInt = 32
  dropout: Rate = 0.0
  relative_buckets: Annotated[int, Field(ge=4, multiple_of=4)] = 32
  relative_max_distance: int = 128

  def __post_init__(self) -> None:
    """Check that some distances share a bucket."""
    if self.relative_max_distance <= self.relative_buckets // 4:
      raise UserError(
        f'text.relative_max_distance is {self.relative_max_distance}, but it '
        f'must be above {self.relative_buckets // 4}, the number of exact '
        'distances, a quarter of text.relative_buckets'
      )
