"""The contract of a vocabulary, and what is particular to SentencePiece."""

import io
import logging
import threading

import numpy as np
import pytest
import sentencepiece

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
  """Every implementation of the protocol passes these."""

  def test_is_a_vocabulary(self, vocabulary):
    assert isinstance(vocabulary, Vocabulary)
    assert (vocabulary.pad_id, vocabulary.eos_id) == (0, 1)
    assert vocabulary.size > 3

  @pytest.mark.parametrize('text', CAPTIONS[::5])
  def test_decode_undoes_encode(self, vocabulary, text):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(vocabulary.encode_padded(text, 64)) == text

  @pytest.mark.parametrize('text', [*CAPTIONS[:3], '', '</s><pad>', 'ж 日'])
  def test_text_never_makes_padding_or_an_end(self, vocabulary, text):
    ids = vocabulary.encode(text)
    assert all(1 < i < vocabulary.size for i in ids)

  def test_the_end_of_text_comes_once_and_then_padding(self, vocabulary):
    text = CAPTIONS[0]
    ids = vocabulary.encode_padded(text, 40)
    num = len(vocabulary.encode(text))
    assert ids.shape == (40,)
    assert ids.dtype == np.int32
    assert ids[:num].tolist() == vocabulary.encode(text)
    assert ids[num] == vocabulary.eos_id
    assert not ids[num + 1 :].any()

  def test_the_empty_text_is_the_end_alone(self, vocabulary):
    assert vocabulary.encode_padded('', 4).tolist() == [1, 0, 0, 0]

  @pytest.mark.parametrize('length', [1, 2, 5])
  def test_a_long_text_keeps_its_end(self, vocabulary, length):
    text = CAPTIONS[0]
    ids = vocabulary.encode_padded(text, length)
    assert ids.tolist() == vocabulary.encode(text)[: length - 1] + [1]

  def test_a_text_that_just_fits_is_whole(self, vocabulary):
    num = len(vocabulary.encode(CAPTIONS[0]))
    ids = vocabulary.encode_padded(CAPTIONS[0], num + 1)
    assert vocabulary.decode(ids) == CAPTIONS[0]

  def test_no_room_for_the_end_is_refused(self, vocabulary):
    with pytest.raises(ValueError, match='length is 0'):
      vocabulary.encode_padded('a', 0)

  @pytest.mark.parametrize('bad', [-1, 10**6])
  def test_an_id_outside_is_refused(self, vocabulary, bad):
    with pytest.raises(ValueError, match=f'id {bad} is not in the vocabulary'):
      vocabulary.decode([3, bad])

  def test_a_broken_string_is_refused(self, vocabulary):
    with pytest.raises(ValueError, match='valid Unicode'):
      vocabulary.encode('\ud800')


def test_learning_twice_gives_the_same_bytes(learned):
  again = SentencePieceVocabulary.learn(iter(CAPTIONS), 64)
  assert again.model == learned.model
  assert learned.size <= 64


def test_case_and_whitespace_carry_nothing(learned):
  assert learned.encode('A  Small\nRED circle') == learned.encode(
    'a small red circle'
  )


def test_no_caption_is_dropped_in_learning():
  # SentencePiece by itself drops lines with NUL and those over 4,192 bytes.
  long = 'z' + 'a' * 6000
  vocabulary = SentencePieceVocabulary.learn(['a b', 'c\0d', long, ''], 32)
  for character in 'abcdz':
    assert 2 not in vocabulary.encode(character)


def test_few_captions_give_fewer_pieces_and_say_so(caplog):
  with caplog.at_level(logging.WARNING):
    vocabulary = SentencePieceVocabulary.learn(CAPTIONS, 5000)
  assert 3 < vocabulary.size < 5000
  assert f'{vocabulary.size} pieces, fewer than the 5000' in caplog.text


def test_the_least_size_that_is_named_works():
  with pytest.raises(ValueError, match='ask for 24 or more'):
    SentencePieceVocabulary.learn(CAPTIONS, 10)
  assert SentencePieceVocabulary.learn(CAPTIONS, 24).size == 24


def test_nothing_to_learn_from_is_refused():
  with pytest.raises(ValueError, match='at least one caption'):
    SentencePieceVocabulary.learn(['', ' \n'], 32)


def test_truncation_is_counted_in_every_thread_and_logged_once(caplog):
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
  assert len([r for r in caplog.records if 'is cut to 3' in r.message]) == 1


@pytest.mark.parametrize('model', [b'', b'not a model', b'\x80\x04K\x01.'])
def test_foreign_bytes_are_refused(model):
  with pytest.raises(ValueError, match='not a SentencePiece model'):
    SentencePieceVocabulary(model)


def test_a_cut_model_is_refused(learned):
  with pytest.raises(ValueError, match='not a SentencePiece model'):
    SentencePieceVocabulary(learned.model[:-7])


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match='no vocabulary at .*vocab.model'):
    SentencePieceVocabulary.from_file(tmp_path / 'vocab.model')


def test_other_special_ids_are_refused():
  out = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(CAPTIONS),
    model_writer=out,
    vocab_size=30,
    minloglevel=2,
  )
  with pytest.raises(ValueError, match='must have them at'):
    SentencePieceVocabulary(out.getvalue())
