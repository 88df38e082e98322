"""Vocabularies of seqio behind the protocol of `text.vocab`.

The adapter receives a vocabulary that the caller has made, such as
`seqio.SentencePieceVocabulary(FILE)` or `seqio.ByteVocabulary()`, and imports
nothing of seqio, which needs TensorFlow (extra `tf`).
"""

from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.text.vocab import EOS_ID, PAD_ID, UNK_ID, Padding


class SeqioVocabulary(Padding):
  """A vocabulary of seqio."""

  def __init__(self, vocabulary: Any) -> None:
    """Wrap a vocabulary.

    Args:
      vocabulary: a `seqio.Vocabulary`.

    Raises:
      UserError: its special ids are not those of T5.
    """
    super().__init__()
    self._vocabulary = vocabulary
    found = (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id)
    if found != (PAD_ID, EOS_ID, UNK_ID):
      raise UserError(
        f'the vocabulary has the ids {found} for padding, end of text and '
        f'unknown, but they must be {(PAD_ID, EOS_ID, UNK_ID)}, as in T5'
      )

  @property
  def size(self) -> int:
    """Return the number of ids, with the extra ids of T5."""
    return self._vocabulary.vocab_size

  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without end of text and padding."""
    return [int(i) for i in self._vocabulary.encode(text)]

  def _decode(self, ids: list[int]) -> str:
    return self._vocabulary.decode(ids)
