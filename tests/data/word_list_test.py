"""A list of words is read line by line, and only whole words are found."""

import pytest

from phenaki_jax.data import word_list


def test_lists_have_a_word_or_phrase_in_each_line(tmp_path):
  path = tmp_path / 'words.txt'
  path.write_text('# a list\ndarn\n\n  Very Bad \r\n---\n\u00e9\n', 'utf-8')
  words = word_list.read_words(str(path))
  assert words == ('darn', 'Very Bad', '\u00e9')
  assert word_list.contains('it is VERY, bad', words)
  # One letter of two characters is the same letter.
  assert word_list.contains('E\u0301', words)
  assert not word_list.contains('--- a list', words)


def test_lists_that_cannot_be_used_are_refused(tmp_path):
  path = tmp_path / 'words.txt'
  with pytest.raises(FileNotFoundError, match='there is no list of words'):
    word_list.read_words(str(path))
  path.write_bytes(b'\xff')
  with pytest.raises(ValueError, match='is not UTF-8'):
    word_list.read_words(str(path))
  path.write_text('# nothing\n...\n')
  with pytest.raises(ValueError, match='has none; write one in a line'):
    word_list.read_words(str(path))


def test_nothing_is_found_without_words():
  assert not word_list.contains('darn', ())
