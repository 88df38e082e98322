"""`phenaki export` refuses wrong arguments in one sentence."""

import pytest

from phenaki_jax.cli import main


@pytest.mark.parametrize(
  ('options', 'sentence'),
  [
    (['--run', 'nothing'], 'there is no folder nothing'),
    (['--run', '.', '--scores', '.'], 'phenaki evaluate'),
  ],
)
def test_wrong_arguments_end_in_one_sentence(
  tmp_path, monkeypatch, capsys, options, sentence
):
  monkeypatch.chdir(tmp_path)
  assert main.main(['export', *options, '--out', 'bundle']) == 2
  assert sentence in capsys.readouterr().err
  assert not (tmp_path / 'bundle').exists()
