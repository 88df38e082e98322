"""Vocabularies: text to token ids and back.

The special ids are those of T5: 0 is padding, 1 is end of text, 2 is unknown,
and there is no start of text. A vocabulary is a SentencePiece model, either
read from a file, such as T5's unigram model, or learned from the captions by
byte-pair encoding (Sennrich et al. 2016), which forms whole words even from few
captions.
"""

import abc
import io
import logging
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import sentencepiece
from etils import epath
from sentencepiece import sentencepiece_model_pb2

from phenaki_jax.errors import UserError

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2

_SPACE = '▁'  # SentencePiece's mark of the start of a word

_LOG = logging.getLogger(__name__)
# SentencePiece drops longer lines by default; the limit is raised when a
# caption is longer.
_DEFAULT_LINE_BYTES = 4192


@runtime_checkable
class Vocabulary(Protocol):
  """A map between text and ids.

  `decode` undoes `encode` and `encode_padded`, except for the vocabulary's
  normalisation (whitespace, Unicode forms, case) and unknown characters.
  """

  @property
  def size(self) -> int:
    """Return the number of ids."""

  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without end of text and padding."""

  def encode_padded(self, text: str, length: int) -> np.ndarray:
    """Return int32 ids [length]: the text, end of text, padding."""

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Return the text of ids up to the first end of text."""


class Padding(abc.ABC):
  """Adds end of text and padding to the ids of a vocabulary, or removes them.

  T5 was trained with an end of text, which the vocabularies themselves do not
  append; without it every vector of the text changes.

  Attributes:
    num_truncated: number of texts that `encode_padded` has truncated.
  """

  def __init__(self) -> None:
    """Begin to count."""
    self.num_truncated = 0
    self._lock = threading.Lock()

  @abc.abstractmethod
  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without end of text and padding."""

  @property
  @abc.abstractmethod
  def size(self) -> int:
    """Return the number of ids."""

  @abc.abstractmethod
  def _decode(self, ids: list[int]) -> str:
    """Return the text of ids without special ones."""

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Return the text of ids up to the first end of text.

    Raises:
      UserError: an id is not in [0, size).
    """
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
    return self._decode(kept)

  def encode_padded(self, text: str, length: int) -> np.ndarray:
    """Return int32 ids [length]: the text, end of text, padding.

    A text that is too long loses its last pieces and is counted in
    `num_truncated`; a warning is logged once.

    Raises:
      UserError: the length is below 1 or the text is not valid Unicode.
    """
    if length < 1:
      raise UserError(
        f'the text length is {length}, but must be at least 1, for the end of '
        'text'
      )
    pieces = self.encode(text)
    if len(pieces) >= length:
      self._count_truncated(text, len(pieces) + 1, length)
      pieces = pieces[: length - 1]
    ids = np.full((length,), PAD_ID, np.int32)
    ids[: len(pieces)] = pieces
    ids[len(pieces)] = EOS_ID
    return ids

  def _count_truncated(self, text: str, needed: int, length: int) -> None:
    with self._lock:  # the data loader encodes in several threads
      self.num_truncated += 1
      is_first = self.num_truncated == 1
    if is_first:
      _LOG.warning(
        'a text of %d ids is truncated to %d: %.80r (logged only once)',
        needed,
        length,
        text,
      )


class SentencePieceVocabulary(Padding):
  """A vocabulary given by a SentencePiece model.

  Attributes:
    model: the content of the model file.
  """

  def __init__(self, model: bytes) -> None:
    """Load a model.

    Raises:
      UserError: `model` is not a SentencePiece model with T5's special ids.
    """
    super().__init__()
    self.model = bytes(model)
    self._processor = _load(self.model)

  @classmethod
  def from_file(cls, path: epath.PathLike) -> 'SentencePieceVocabulary':
    """Read a model file.

    Raises:
      UserError: the file is missing or is not a suitable model.
    """
    path = epath.Path(path)
    if not path.is_file():
      raise UserError(
        f'no vocabulary at {path}; use a SentencePiece model file, such as '
        'the vocab.model of a training run'
      )
    return cls(path.read_bytes())

  @classmethod
  def learn(
    cls, captions: Iterable[str], size: int
  ) -> 'SentencePieceVocabulary':
    """Learn a vocabulary from captions, deterministically.

    Args:
      captions: the training text; empty captions are ignored.
      size: number of pieces. If the captions allow only fewer, the vocabulary
        is smaller and a warning is logged.

    Raises:
      UserError: no caption has text, or `size` is smaller than the number of
        different characters needs.
    """
    lines = [line for c in captions if (line := _single_line(c))]
    if not lines:
      raise UserError(
        'cannot learn a vocabulary because all captions are empty; provide '
        'at least one caption with text'
      )
    longest = max(len(line.encode()) for line in lines)
    out = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        vocab_size=size,
        model_type='bpe',
        # Normalise Unicode forms and fold case.
        normalization_rule_name='nmt_nfkc_cf',
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=PAD_ID,
        eos_id=EOS_ID,
        unk_id=UNK_ID,
        bos_id=-1,
        num_threads=1,  # several threads would not be deterministic
        shuffle_input_sentence=False,
        max_sentence_length=max(_DEFAULT_LINE_BYTES, longest + 1),
        minloglevel=2,
      )
    except RuntimeError as error:
      least = _least_size(lines)
      advice = f'use at least {least}' if size < least else str(error)
      raise UserError(
        f'a vocabulary of {size} pieces cannot be learned from {len(lines)} '
        f'captions: {advice}'
      ) from error
    vocabulary = cls(out.getvalue())
    if vocabulary.size < size:
      _LOG.warning(
        'the captions allow a vocabulary of only %d pieces, not %d',
        vocabulary.size,
        size,
      )
    return vocabulary

  def with_words(
    self, words: Sequence[str], *, first: int
  ) -> 'SentencePieceVocabulary':
    """Return a vocabulary in which each of some new words is one id.

    The ids of all other text stay the same. A longer word that begins with a
    new one, such as its plural, becomes its id and those of the ending.

    Args:
      words: words that are not yet one piece.
      first: id of the first word, at least `size`; ids in between stay unused.

    Raises:
      UserError: a word is not a single word, or is already one piece.
    """
    assert first >= self.size, f'id {first} is that of another piece'
    proto: Any = sentencepiece_model_pb2  # Its types are made at run time.
    content = proto.ModelProto.FromString(self.model)
    kinds = proto.ModelProto.SentencePiece
    for number in range(self.size, first):
      content.pieces.add(piece=f'<unused_{number}>', type=kinds.UNUSED)
    for word in words:
      piece = self._processor.normalize(word)
      if _SPACE in piece.lstrip(_SPACE) or not any(map(str.isalnum, piece)):
        raise UserError(
          f'{word!r} is not a word; give one without spaces, such as zog'
        )
      if piece in {one.piece for one in content.pieces}:
        raise UserError(
          f'the vocabulary has the word {word!r} already; give a word that '
          'means nothing yet, such as zog'
        )
      content.pieces.add(piece=piece, type=kinds.USER_DEFINED)
    return type(self)(content.SerializeToString())

  def save(self, path: epath.PathLike) -> None:
    """Write the model file."""
    epath.Path(path).write_bytes(self.model)

  @property
  def size(self) -> int:
    """Return the number of pieces."""
    return self._processor.get_piece_size()

  def encode(self, text: str) -> list[int]:
    """Return the ids of a text, without end of text and padding.

    Raises:
      UserError: the text is not valid Unicode.
    """
    try:
      return self._processor.encode(text, out_type=int)
    except RuntimeError as error:
      raise UserError(
        f'text {text!r} is not valid Unicode; remove the invalid characters'
      ) from error

  def _decode(self, ids: list[int]) -> str:
    return self._processor.decode(ids)


def _load(model: bytes) -> sentencepiece.SentencePieceProcessor:
  processor = sentencepiece.SentencePieceProcessor()
  try:
    # SentencePiece accepts an empty model and fails when it is first used.
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
      f'the vocabulary has the ids {found} for padding, end of text and '
      f'unknown, but they must be {(PAD_ID, EOS_ID, UNK_ID)}, as in T5'
    )
  return processor


def _single_line(caption: str) -> str:
  # SentencePiece reads line by line and drops lines that contain NUL.
  return ' '.join(caption.replace('\0', ' ').split())


def _least_size(lines: Iterable[str]) -> int:
  # Three special ids, the mark of a word start, and every character.
  folded = unicodedata.normalize('NFKC', ' '.join(lines)).casefold()
  return 4 + len(set(folded) - {' '})
