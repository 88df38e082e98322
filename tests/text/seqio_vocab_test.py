"""Ids of captions equal those that seqio gives them for T5.

`tests/golden/seqio_ids.py` wrote the ids with seqio itself. The tests of the
adapters need the extra `tf`.
"""

import importlib.resources
import json
import pathlib

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.text.seqio_vocab import SeqioVocabulary
from phenaki_jax.text.vocab import SentencePieceVocabulary, Vocabulary

GOLDEN = json.loads(
  (pathlib.Path(__file__).parents[1] / 'golden/seqio_ids.json').read_text()
)
MODEL = importlib.resources.files('phenaki_jax') / 'reference/vocab.model'


def check(vocabulary, golden):
  """Compare plain ids, and ids with end of text and padding."""
  assert isinstance(vocabulary, Vocabulary)
  assert vocabulary.size == golden['size']
  for text, plain, padded in zip(
    GOLDEN['texts'], golden['plain'], golden['padded'], strict=True
  ):
    assert vocabulary.encode(text) == plain
    ids = vocabulary.encode_padded(text, GOLDEN['length'])
    np.testing.assert_array_equal(ids, padded)


def test_ids_of_sentencepiece_are_those_of_a_seqio_task():
  golden = GOLDEN['sentencepiece']
  # Without the end of text no padded row would be equal.
  assert all(
    1 in row and 1 not in plain
    for row, plain in zip(golden['padded'], golden['plain'], strict=True)
  )
  check(SentencePieceVocabulary(MODEL.read_bytes()), golden)


def test_vocabulary_with_other_special_ids_is_refused():
  class Other:
    pad_id, eos_id, unk_id = 0, 2, 1

  with pytest.raises(UserError, match=r'has the ids \(0, 2, 1\)'):
    SeqioVocabulary(Other())


def test_ids_of_the_adapters_are_those_of_a_seqio_task():
  seqio = pytest.importorskip('seqio', reason='needs the extra tf')
  pieces = SeqioVocabulary(seqio.SentencePieceVocabulary(str(MODEL)))
  check(pieces, GOLDEN['sentencepiece'])
  check(SeqioVocabulary(seqio.ByteVocabulary()), GOLDEN['bytes'])
  text = GOLDEN['texts'][0]
  assert pieces.decode(pieces.encode_padded(text, 40)) == text
  with pytest.raises(UserError, match='is not in the vocabulary'):
    pieces.decode([pieces.size])
