"""Sizes of the text encoder, and of the text that it reads."""

import dataclasses

from phenaki_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig:
  """Describe a T5 1.1 encoder and the length of its input.

  Attributes:
    vocab_size: rows of the embedding table; a vocabulary may use fewer (T5
      itself rounds 32,100 pieces up to 32,128 rows), never more.
    width: E, the width of the embeddings.
    num_layers: number of encoder layers.
    num_heads: K, attention heads per layer.
    head_dim: d, width per head; `num_heads * head_dim` need not be `width`.
    mlp_dim: F, width of the gated MLP.
    max_length: L, ids per prompt, the end-of-text id included.
    dropout: rate in [0, 1), used only in training.
    relative_buckets: number of relative-position buckets, even; one half is
      for the past, the other for the future.
    relative_max_distance: distance in ids from which all share a bucket.
  """

  vocab_size: int = 256
  width: int = 128
  num_layers: int = 2
  num_heads: int = 4
  head_dim: int = 32
  mlp_dim: int = 256
  max_length: int = 32
  dropout: float = 0.0
  relative_buckets: int = 32
  relative_max_distance: int = 128

  def __post_init__(self) -> None:
    """Raise a UserError when a size makes no encoder."""
    for name in (
      'width',
      'num_layers',
      'num_heads',
      'head_dim',
      'mlp_dim',
      'max_length',
    ):
      if getattr(self, name) < 1:
        raise UserError(
          f'text.{name} is {getattr(self, name)}, but must be 1 or more'
        )
    if self.vocab_size < 4:
      raise UserError(
        f'text.vocab_size is {self.vocab_size}, but must be 4 or more: ids 0, '
        '1 and 2 are padding, end of text and unknown'
      )
    if not 0.0 <= self.dropout < 1.0:
      raise UserError(f'text.dropout is {self.dropout}, but must be in [0, 1)')
    if self.relative_buckets < 4 or self.relative_buckets % 4:
      raise UserError(
        f'text.relative_buckets is {self.relative_buckets}, but must be a '
        'positive multiple of 4: half for each direction, and half of that '
        'for exact distances'
      )
    if self.relative_max_distance <= self.relative_buckets // 4:
      raise UserError(
        f'text.relative_max_distance is {self.relative_max_distance}, but '
        f'must be above {self.relative_buckets // 4}, the distances that have '
        'a bucket of their own'
      )
