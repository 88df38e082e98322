import io
import sys

import pytest

from phenaki_jax import progress


@pytest.mark.parametrize(
  ('terminal', 'wish', 'shown'),
  [
    (True, None, True),
    (True, '', True),
    (True, '0', True),
    (True, '1', False),
    (True, 'true', False),
    (False, None, False),
    (False, '0', False),
  ],
)
def test_bars_are_for_terminals(monkeypatch, terminal, wish, shown):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
  monkeypatch.delenv('TQDM_DISABLE', raising=False)
  if wish is not None:
    monkeypatch.setenv('TQDM_DISABLE', wish)
  assert progress.is_shown() == shown
  with progress.bar(total=3, unit='clip', desc='clips') as bar:
    bar.update(3)
    assert bar.disable != shown


def test_bars_are_shown_in_notebooks(monkeypatch):
  monkeypatch.delenv('TQDM_DISABLE', raising=False)
  stream = type(
    'OutStream', (io.StringIO,), {'__module__': 'ipykernel.iostream'}
  )
  monkeypatch.setattr(sys, 'stderr', stream())
  assert progress.is_shown()
