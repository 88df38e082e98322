"""Options of one kind of cache are refused with the other."""

import pytest

from phenaki_jax.cli.main import main

PLACES = ('--config', 'x.py', '--out', 'x')


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    (('--tokens', '--int8'), '--int8 belongs to --text, but --tokens is given'),
    (('--tokens', '--seqio-task', 'a.py:b'), '--seqio-task belongs to --text'),
    (('--text', '--steps', '3'), '--steps belongs to --tokens'),
    (('--text', '--encoder', 'x'), '--encoder PATH and --vocabulary FILE'),
  ],
)
def test_options_of_the_other_cache_are_refused(arguments, sentence, capsys):
  assert main(['encode', *arguments, *PLACES]) == 2
  assert sentence in capsys.readouterr().err
