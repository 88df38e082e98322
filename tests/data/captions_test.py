import pytest

from phenaki_jax.data import captions


@pytest.mark.parametrize(
  'text',
  [
    *('', ' ', 'nan', 'NaN', 'None', ' none ', 'null', 'NULL', 'N/A', '<NA>'),
    *('\u200b', ' \u200b ', '\ufeff', '\u00a0', '\u2060\u200d', '\u00ad'),
    *('\u3164', '\u2800', '\ufe0f', '\u200bnan\u200b', '\t\n'),
  ],
)
def test_captions_that_say_nothing_are_empty(text):
  assert captions.is_empty(text)


@pytest.mark.parametrize(
  'text',
  [
    'a',
    'none of them',
    'Nan bread',
    '🎈🎉',
    'שלום',
    '.',
    '漢',
    'n a',
    '0',
    'é',
  ],
)
def test_other_captions_are_not_empty(text):
  assert not captions.is_empty(text)


@pytest.mark.parametrize(
  'value, text, unused',
  [
    ('a dog', 'a dog', 0),
    ('Été'.encode(), 'Été', 0),
    (['one', 'two'], 'one', 1),
    (['', None, 'nan', b'three', 'four'], 'three', 1),
    ([['inner'], 'outer'], 'inner', 1),
    ([], '', 0),
    ([None, ''], '', 0),
    (None, '', 0),
    (float('nan'), '', 0),
  ],
)
def test_the_first_caption_of_a_value_is_used(value, text, unused):
  found = captions.read(value)
  assert found == captions.Caption(text=text, unused=unused)


@pytest.mark.parametrize(
  'value, fault',
  [
    (b'caf\xe9', captions.NOT_UTF8),
    ([b'\xff'], captions.NOT_UTF8),
    (7, captions.NOT_TEXT),
    ({'en': 'a dog'}, captions.NOT_TEXT),
  ],
)
def test_values_that_are_not_text_are_faults(value, fault):
  assert captions.read(value) == captions.Caption(fault=fault)
