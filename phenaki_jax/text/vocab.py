"""Vocabularies: text to ids and back.

The ids follow T5: 0 is padding, 1 ends a text, 2 is unknown, and nothing
begins a text. The default vocabulary is a SentencePiece model, learned from
the captions (by merging pairs, Sennrich et al. 2016: few captions then still
give whole words) or read from a file, such as T5's own unigram model.
"""

import io
import logging
import pathlib
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import sentencepiece

from phenaki_jax.errors import UserError

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2

_LOG = logging.getLogger(__name__)
# What SentencePiece reads of a line unless told otherwise, in bytes. Longer
# lines would be dropped, so the limit is raised when the captions need it.
_DEFAULT_LINE_BYTES = 4192


@runtime_checkable
class Vocabulary(Protocol):
  """Map text to ids and back.

  `encode` gives ids in [0, size) without padding and without the end of text;
  `encode_padded` adds both and is the only door to a model. `decode` stops at
  the end of text and skips padding, so it undoes both, up to the vocabulary's
  own normalisation (whitespace, Unicode forms) and unknown characters.
  """

  @property
  def pad_id(self) -> int:
    """Return the id of padding, always 0: the encoder masks ids > 0."""

  @property
  def eos_id(self) -> int:
    """Return the id that ends a text."""

  @property
  def size(self) -> int:
    """Return the number of ids."""

  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without its end and without padding."""

  def encode_padded(self, text: str, length: int) -> np.ndarray:
    """Return int32 ids [length]: the text, the end of text, padding."""

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Return the text of ids, up to the first end of text."""


class SentencePieceVocabulary:
  """Hold a SentencePiece model, as the bytes of its model file."""

  def __init__(self, model: bytes) -> None:
    """Load a model; raise a UserError unless its ids are as T5's are."""
    self._model = bytes(model)
    self._processor = _load(self._model)
    self._lock = threading.Lock()
    self._num_truncated = 0

  @classmethod
  def from_file(cls, path: str | pathlib.Path) -> 'SentencePieceVocabulary':
    """Read a model file; a missing or foreign file raises a UserError."""
    path = pathlib.Path(path)
    if not path.is_file():
      raise UserError(
        f'no vocabulary at {path}: give a SentencePiece model file, such as '
        'the vocab.model of a training run'
      )
    return cls(path.read_bytes())

  @classmethod
  def learn(
    cls, captions: Iterable[str], size: int
  ) -> 'SentencePieceVocabulary':
    """Learn at most `size` pieces from captions, the same ones every time.

    Few captions allow few pieces: the vocabulary is then smaller than asked
    for, which is logged. A `size` too small for the captions' characters
    raises a UserError that names the least that works.
    """
    lines = [line for c in captions if (line := _single_line(c))]
    if not lines:
      raise UserError(
        'a vocabulary needs at least one caption that is not empty'
      )
    longest = max(len(line.encode()) for line in lines)
    out = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        vocab_size=size,
        model_type='bpe',
        # Unicode forms and letter case carry nothing in a caption.
        normalization_rule_name='nmt_nfkc_cf',
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=PAD_ID,
        eos_id=EOS_ID,
        unk_id=UNK_ID,
        bos_id=-1,
        num_threads=1,  # more would sum in another order
        shuffle_input_sentence=False,
        max_sentence_length=max(_DEFAULT_LINE_BYTES, longest + 1),
        minloglevel=2,
      )
    except RuntimeError as error:
      least = _least_size(lines)
      advice = f'ask for {least} or more' if size < least else str(error)
      raise UserError(
        f'a vocabulary of {size} pieces cannot be learned from {len(lines)} '
        f'captions: {advice}'
      ) from error
    vocabulary = cls(out.getvalue())
    if vocabulary.size < size:
      _LOG.warning(
        'the captions allow a vocabulary of %d pieces, fewer than the %d '
        'asked for',
        vocabulary.size,
        size,
      )
    return vocabulary

  def save(self, path: str | pathlib.Path) -> None:
    """Write the model file."""
    pathlib.Path(path).write_bytes(self._model)

  @property
  def model(self) -> bytes:
    """Return the bytes of the model file."""
    return self._model

  @property
  def pad_id(self) -> int:
    """Return the id of padding, 0."""
    return PAD_ID

  @property
  def eos_id(self) -> int:
    """Return the id that ends a text, 1."""
    return EOS_ID

  @property
  def size(self) -> int:
    """Return the number of pieces."""
    return self._processor.get_piece_size()

  @property
  def num_truncated(self) -> int:
    """Return how many texts `encode_padded` has had to cut so far."""
    return self._num_truncated

  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without its end and without padding."""
    try:
      return self._processor.encode(text, out_type=int)
    except RuntimeError as error:
      raise UserError(
        f'a text is a string of valid Unicode, but was {text!r}'
      ) from error

  def encode_padded(self, text: str, length: int) -> np.ndarray:
    """Return int32 ids [length]: the text, the end of text, padding.

    A longer text loses its last pieces but keeps its end; such texts are
    counted in `num_truncated`, and the first one is logged.
    """
    if length < 1:
      raise UserError(
        f'the text length is {length}, but must be 1 or more: the end of text '
        'takes one id'
      )
    pieces = self.encode(text)
    if len(pieces) >= length:
      self._count_truncated(text, len(pieces) + 1, length)
      pieces = pieces[: length - 1]
    ids = np.full((length,), PAD_ID, np.int32)
    ids[: len(pieces)] = pieces
    ids[len(pieces)] = EOS_ID
    return ids

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Return the text of ids, up to the first end of text."""
    kept = []
    for i in (int(i) for i in ids):
      if i == EOS_ID:
        break
      if not 0 <= i < self.size:
        raise UserError(
          f'id {i} is not in the vocabulary, which has {self.size} ids'
        )
      if i != PAD_ID:
        kept.append(i)
    return self._processor.decode(kept)

  def _count_truncated(self, text: str, needed: int, length: int) -> None:
    with self._lock:  # the loader encodes in several threads
      self._num_truncated += 1
      is_first = self._num_truncated == 1
    if is_first:
      _LOG.warning(
        'a text needs %d ids and is cut to %d: %.80r (later ones are only '
        'counted)',
        needed,
        length,
        text,
      )


def _single_line(caption: str) -> str:
  # SentencePiece reads line by line and drops a line that holds a NUL.
  return ' '.join(caption.replace('\0', ' ').split())


def _least_size(lines: Iterable[str]) -> int:
  # Three ids, the word-begin mark, and every character on its own.
  folded = unicodedata.normalize('NFKC', ' '.join(lines)).casefold()
  return 4 + len(set(folded) - {' '})


def _load(model: bytes) -> sentencepiece.SentencePieceProcessor:
  processor = sentencepiece.SentencePieceProcessor()
  try:
    # An empty model loads without complaint, and fails at its first use.
    is_loaded = bool(model) and processor.load_from_serialized_proto(model)
  except RuntimeError as error:
    raise UserError(
      f'the vocabulary is not a SentencePiece model: {error}'
    ) from error
  if not is_loaded:
    raise UserError('the vocabulary is not a SentencePiece model: it is empty')
  found = (processor.pad_id(), processor.eos_id(), processor.unk_id())
  if found != (PAD_ID, EOS_ID, UNK_ID):
    raise UserError(
      f'the vocabulary has padding, end of text and unknown at {found}, but '
      f'must have them at {(PAD_ID, EOS_ID, UNK_ID)}, as T5 has'
    )
  return processor
