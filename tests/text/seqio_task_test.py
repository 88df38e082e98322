"""Captions of a Task of seqio; all but the first test need the extra `tf`."""

import importlib.resources
import importlib.util
import pathlib

import pytest

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.text.seqio_task import captions_of
from phenaki_jax.text.vocab import SentencePieceVocabulary

MODEL = importlib.resources.files('phenaki_jax') / 'reference/vocab.model'
HAS_SEQIO = importlib.util.find_spec('seqio') is not None
CAPTIONS = ('a red circle moving right on grass', 'Bär 🐻', '', 'a ' * 40)
FILE = """
from phenaki_jax.text.seqio_task import register
register('captions', {captions!r}, vocabulary={vocabulary!r})
"""


@pytest.fixture
def place(tmp_path):
  """Return a function that writes a file and names a Task in it."""

  def write(name='captions', vocabulary=MODEL):
    path = tmp_path / 'captions.py'
    path.write_text(FILE.format(captions=CAPTIONS, vocabulary=str(vocabulary)))
    return f'{path}:{name}'

  return write


def _read(place, length=12):
  vocabulary = SentencePieceVocabulary(MODEL.read_bytes())
  return list(captions_of(place, vocabulary, length=length))


@pytest.mark.skipif(HAS_SEQIO, reason='the extra tf is installed')
def test_without_the_extra_the_sentence_names_it(place):
  with pytest.raises(UserError, match=r'pip install "phenaki-jax\[tf\]"'):
    _read(place())


@pytest.mark.skipif(not HAS_SEQIO, reason='needs the extra tf')
def test_captions_and_their_ids_are_those_of_the_task(place):
  # `captions_of` compares the ids of each caption, the end mark included.
  assert _read(place()) == list(CAPTIONS)


@pytest.mark.skipif(not HAS_SEQIO, reason='needs the extra tf')
def test_other_ids_and_unknown_tasks_are_refused(place, tmp_path):
  other = pathlib.Path(tmp_path) / 'other.model'
  SentencePieceVocabulary.learn(['a red circle on grass'], 24).save(other)
  with pytest.raises(UserError, match='gives .* the token ids'):
    _read(place(vocabulary=other))
  with pytest.raises(NotFoundError, match='registers no Task absent'):
    _read(place('absent'))
  with pytest.raises(NotFoundError, match='give FILE.py:NAME'):
    _read('captions')
