"""The shape of the text encoder, and the length of its input."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from phenaki_jax.config import Rate, validated
from phenaki_jax.errors import UserError


@validated
class TextConfig:
  """The shape of a T5 encoder and the length of its input.

  Attributes:
    vocab_size: rows of the embedding table. A vocabulary may use fewer (T5
      rounds 32,100 pieces up to 32,128 rows), never more; ids 0, 1 and 2 are
      padding, end of text and unknown.
    words: words that a trained encoder has learned later. Each is one id, from
      `vocab_size` on, with a row in a table of their own (AR-LDM, arXiv
      2211.10950).
    width: E, the width of the embeddings.
    num_layers: number of encoder layers.
    num_heads: K, attention heads per layer.
    head_dim: d, width per head; `num_heads * head_dim` may differ from
      `width`.
    mlp_dim: F, hidden width of the MLP.
    activation: of the MLP: 'gated_gelu' in T5 1.1, 'relu' in T5 1.0.
    max_length: L, ids per caption or prompt, including the end-of-text id.
    dropout: rate in [0, 1), used only in training.
    relative_buckets: number of relative-position buckets, a multiple of 4:
      half for each direction, and half of that for exact distances.
    relative_max_distance: distance in ids from which all share a bucket; above
      the number of exact distances.
    source: folder of a cache of text vectors, which `phenaki encode --text`
      wrote; training reads them instead of encoding captions. Empty for none.
    encoder: checkpoint of a frozen encoder, which encodes the captions in
      training. With a source it is the encoder of the cache. Empty: the
      encoder is trained with the model.
    vocabulary: SentencePiece model of a frozen encoder.
    digest: of the parameters of a frozen encoder; filled in by training.
  """

  vocab_size: Annotated[int, Field(ge=4)] = 256
  words: tuple[str, ...] = ()
  width: PositiveInt = 128
  num_layers: PositiveInt = 2
  num_heads: PositiveInt = 4
  head_dim: PositiveInt = 32
  mlp_dim: PositiveInt = 256
  activation: Literal['gated_gelu', 'relu'] = 'gated_gelu'
  max_length: PositiveInt = 32
  dropout: Rate = 0.0
  relative_buckets: Annotated[int, Field(ge=4, multiple_of=4)] = 32
  relative_max_distance: int = 128
  source: str = ''
  encoder: str = ''
  vocabulary: str = ''
  digest: str = ''

  def __post_init__(self) -> None:
    """Check the rules that span several fields."""
    if self.relative_max_distance <= self.relative_buckets // 4:
      raise UserError(
        f'text.relative_max_distance is {self.relative_max_distance}, but it '
        f'must be above {self.relative_buckets // 4}, the number of exact '
        'distances, a quarter of text.relative_buckets'
      )
    if self.vocabulary and not self.is_frozen:
      raise UserError(
        f'text.vocabulary is {self.vocabulary}, but there is no text.encoder; '
        'name the checkpoint of the encoder, or leave the vocabulary out'
      )

    if self.words and self.is_frozen:
      raise UserError(
        f'text.words is {", ".join(self.words)}, but a frozen text encoder '
        'learns no word; leave text.words out'
      )

  @property
  def num_ids(self) -> int:
    """Return the number of ids that have an embedding."""
    return self.vocab_size + len(self.words)

  @property
  def is_frozen(self) -> bool:
    """Return whether the encoder is pretrained and not trained further."""
    return bool(self.source or self.encoder)

  @property
  def encodes_in_step(self) -> bool:
    """Return whether a frozen encoder encodes captions in the step."""
    return self.is_frozen and not self.source


PLACES = ('source', 'encoder', 'vocabulary')
"""The fields that say where a frozen encoder is, and not what it computes."""


def _size(width: int, heads: int, layers: int, mlp: int) -> Mapping[str, int]:
  return MappingProxyType(
    {
      'vocab_size': 32128,
      'width': width,
      'num_heads': heads,
      'head_dim': 64,
      'num_layers': layers,
      'mlp_dim': mlp,
    }
  )


SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
  {
    'small': _size(512, 6, 8, 1024),
    'base': _size(768, 12, 12, 2048),
    'large': _size(1024, 16, 24, 2816),
    'xl': _size(2048, 32, 24, 5120),
    'xxl': _size(4096, 64, 24, 10240),
  }
)
"""The encoders of T5 1.1 (Raffel et al. 2020; the release of version 1.1)."""
