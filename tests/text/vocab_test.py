"""The Vocabulary interface, and learning and loading SentencePiece models."""

import io
import logging
import threading

import numpy as np
import pytest
import sentencepiece

from phenaki_jax.errors import UserError
from phenaki_jax.text.vocab import SentencePieceVocabulary, Vocabulary

CAPTIONS = [
  f'a {size} {colour} {shape} {motion} on {place}'
  for size in ('small', 'large')
  for colour in ('red', 'blue', 'green')
  for shape in ('circle', 'square')
  for motion in ('moves left', 'spins', 'falls')
  for place in ('grass', 'snow')
]


@pytest.fixture(scope='module')
def learned():
  return SentencePieceVocabulary.learn(CAPTIONS, 64)


@pytest.fixture(params=['learned', 'reloaded'])
def vocabulary(request, learned, tmp_path):
  if request.param == 'learned':
    return learned
  learned.save(tmp_path / 'vocab.model')
  return SentencePieceVocabulary.from_file(tmp_path / 'vocab.model')


class TestContract:
  """Tests of the protocol, for a learned and a reloaded vocabulary."""

  def test_is_a_vocabulary(self, vocabulary):
    assert isinstance(vocabulary, Vocabulary)
    assert vocabulary.size > 3

  @pytest.mark.parametrize('text', CAPTIONS[::5])
  def test_decode_undoes_encode(self, vocabulary, text):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(vocabulary.encode_padded(text, 64)) == text

  @pytest.mark.parametrize('text', [*CAPTIONS[:3], '', '</s><pad>', 'ж 日'])
  def test_text_has_no_ids_of_padding_or_end(self, vocabulary, text):
    ids = vocabulary.encode(text)
    assert all(1 < i < vocabulary.size for i in ids)

  def test_encode_padded_appends_end_of_text_and_padding(self, vocabulary):
    text = CAPTIONS[0]
    ids = vocabulary.encode_padded(text, 40)
    num = len(vocabulary.encode(text))
    assert ids.shape == (40,)
    assert ids.dtype == np.int32
    assert ids[:num].tolist() == vocabulary.encode(text)
    assert ids[num] == 1
    assert not ids[num + 1 :].any()

  def test_empty_text_is_end_of_text_alone(self, vocabulary):
    assert vocabulary.encode_padded('', 4).tolist() == [1, 0, 0, 0]

  @pytest.mark.parametrize('length', [1, 2, 5])
  def test_truncated_text_keeps_end_of_text(self, vocabulary, length):
    text = CAPTIONS[0]
    ids = vocabulary.encode_padded(text, length)
    assert ids.tolist() == vocabulary.encode(text)[: length - 1] + [1]

  def test_text_that_just_fits_is_not_truncated(self, vocabulary):
    num = len(vocabulary.encode(CAPTIONS[0]))
    ids = vocabulary.encode_padded(CAPTIONS[0], num + 1)
    assert vocabulary.decode(ids) == CAPTIONS[0]

  def test_length_zero_raises(self, vocabulary):
    with pytest.raises(ValueError, match='length is 0'):
      vocabulary.encode_padded('a', 0)

  @pytest.mark.parametrize('bad', [-1, 10**6])
  def test_decode_rejects_ids_outside_the_vocabulary(self, vocabulary, bad):
    with pytest.raises(ValueError, match=f'id {bad} is not in the vocabulary'):
      vocabulary.decode([3, bad])

  def test_encode_rejects_invalid_unicode(self, vocabulary):
    with pytest.raises(ValueError, match='not valid Unicode'):
      vocabulary.encode('\ud800')


def test_learning_is_deterministic(learned):
  again = SentencePieceVocabulary.learn(iter(CAPTIONS), 64)
  assert again.model == learned.model
  assert learned.size <= 64


def test_case_and_whitespace_are_normalised(learned):
  assert learned.encode('A  Small\nRED circle') == learned.encode(
    'a small red circle'
  )


def test_learning_uses_every_caption():
  # By default SentencePiece drops lines with NUL or over 4,192 bytes.
  long = 'z' + 'a' * 6000
  vocabulary = SentencePieceVocabulary.learn(['a b', 'c\0d', long, ''], 32)
  for character in 'abcdz':
    assert 2 not in vocabulary.encode(character)


def test_few_captions_give_fewer_pieces_and_a_warning(caplog):
  with caplog.at_level(logging.WARNING):
    vocabulary = SentencePieceVocabulary.learn(CAPTIONS, 5000)
  assert 3 < vocabulary.size < 5000
  assert f'only {vocabulary.size} pieces, not 5000' in caplog.text


def test_smallest_size_named_in_the_error_works():
  with pytest.raises(ValueError, match='use at least 24'):
    SentencePieceVocabulary.learn(CAPTIONS, 10)
  assert SentencePieceVocabulary.learn(CAPTIONS, 24).size == 24


def test_learning_from_empty_captions_raises():
  with pytest.raises(ValueError, match='all captions are empty'):
    SentencePieceVocabulary.learn(['', ' \n'], 32)


def test_truncation_is_counted_across_threads_and_logged_once(caplog):
  vocabulary = SentencePieceVocabulary.learn(CAPTIONS, 64)

  def encode():
    for text in CAPTIONS:
      vocabulary.encode_padded(text, 3)

  with caplog.at_level(logging.WARNING):
    threads = [threading.Thread(target=encode) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  assert vocabulary.num_truncated == 4 * len(CAPTIONS)
  assert len([r for r in caplog.records if 'truncated to 3' in r.message]) == 1


@pytest.mark.parametrize('model', [b'', b'not a model', b'\x80\x04K\x01.'])
def test_other_bytes_raise(model):
  with pytest.raises(ValueError, match='not a SentencePiece model'):
    SentencePieceVocabulary(model)


def test_truncated_model_raises(learned):
  with pytest.raises(ValueError, match='not a SentencePiece model'):
    SentencePieceVocabulary(learned.model[:-7])


def test_missing_file_raises(tmp_path):
  with pytest.raises(ValueError, match='no vocabulary at .*vocab.model'):
    SentencePieceVocabulary.from_file(tmp_path / 'vocab.model')


def test_other_special_ids_raise():
  out = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(CAPTIONS),
    model_writer=out,
    vocab_size=30,
    minloglevel=2,
  )
  with pytest.raises(ValueError, match='they must be'):
    SentencePieceVocabulary(out.getvalue())


class TestNewWords:
  """Words that are added to a vocabulary, each as one id."""

  def test_word_is_one_id_and_other_text_keeps_its_ids(self, learned):
    more = learned.with_words(['zog', 'Émile'], first=learned.size + 3)
    assert more.size == learned.size + 5
    zog, emile = learned.size + 3, learned.size + 4
    assert more.encode('zog') == [zog]
    red = learned.encode('a red')
    right = learned.encode('moves left')
    # Case is folded, as in the captions from which the pieces were learned.
    assert more.encode('A red Zog moves left') == [*red, zog, *right]
    assert more.encode('a red émile') == [*red, emile]
    for text in (*CAPTIONS, 'ozog', 'zo g', ''):
      assert more.encode(text) == learned.encode(text)

  def test_word_survives_the_file_and_decodes(self, learned, tmp_path):
    more = learned.with_words(['zog'], first=learned.size)
    more.save(tmp_path / 'vocab.model')
    found = SentencePieceVocabulary.from_file(tmp_path / 'vocab.model')
    ids = found.encode_padded('a zog moves left', 16)
    assert learned.size in ids
    assert found.decode(ids) == 'a zog moves left'

  def test_longer_word_begins_with_the_id(self, learned):
    more = learned.with_words(['zog'], first=learned.size)
    assert more.encode('zogs')[0] == learned.size
    assert more.decode(more.encode('zogs')) == 'zogs'

  @pytest.mark.parametrize(
    ('word', 'message'),
    [
      ('two words', 'is not a word'),
      ('', 'is not a word'),
      ('!', 'is not a word'),
      ('circle', 'has the word'),
    ],
  )
  def test_other_words_are_refused(self, learned, word, message):
    with pytest.raises(UserError, match=message):
      learned.with_words([word], first=learned.size)
