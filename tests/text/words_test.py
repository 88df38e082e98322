"""Words of captions, and the words of a prompt that no caption had."""

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.text.words import Words, split_words


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('A Red circle, moving right.', ['a', 'red', 'circle', 'moving', 'right']),
    ("it's 'still' - don’t", ["it's", 'still', "don't"]),
    ('blue-green (dark)', ['blue', 'green', 'dark']),
    ('circle🙂 \U0001f468\u200d\U0001f469', ['circle', '🙂', '👨\u200d👩']),
    ('赤い丸、動く', ['赤い丸', '動く']),
    ('हिन्दी में', ['हिन्दी', 'में']),
    ('Straße ﬁsh cafe\u0301', ['strasse', 'fish', 'café']),
    (' .,!?  \u200b', []),
  ],
)
def test_words_of_a_text(text, words):
  assert split_words(text) == words


def test_counts_are_ordered_and_survive_json():
  words = Words.count(['a red ball', '', 'A ball!', ' . '])
  assert list(words.counts.items()) == [('a', 2), ('ball', 2), ('red', 1)]
  assert words.captions == 2
  assert Words.from_json(words.to_json()) == words


def test_unknown_words_come_with_similar_ones():
  words = Words.count(['a red circle moves to the left', 'it moves right'])
  assert words.unknown('A circle moved left') == {'moved': ['moves']}
  assert words.unknown('赤 🙂') == {'赤': [], '🙂': []}
  assert words.unknown('the red circle, moves!') == {}


@pytest.mark.parametrize('content', [b'', b'[]', b'{"counts": 3}', b'\xff'])
def test_a_damaged_file_is_an_error(content):
  with pytest.raises(UserError, match='no counts of words'):
    Words.from_json(content)


def test_words_of_two_runs_are_joined():
  words = Words.count(['a red ball']).joined(Words.count(['a zog', 'a zog']))
  assert list(words.counts.items()) == [
    *(('a', 3), ('zog', 2), ('ball', 1), ('red', 1))
  ]
  assert words.captions == 3
