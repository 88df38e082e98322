"""`phenaki serve` refuses wrong arguments in one sentence."""

import pytest

from phenaki_jax.cli import main


@pytest.mark.parametrize(
  ('options', 'sentence'),
  [
    (['nothing'], 'there is no folder nothing'),
    (['--host', '0.0.0.0'], 'there is no token'),
    (['--data', 'gs://bucket/served'], 'must be on a local disk'),
    (['--token-file', 'nothing'], 'nothing'),
    (['--token-file', 'short.txt'], 'at least 16'),
  ],
)
def test_wrong_arguments_end_in_one_sentence(
  tmp_path, monkeypatch, capsys, options, sentence, tiny_bundle
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'short.txt').write_text('secret')
  if options[0] != 'nothing':
    options = [str(tiny_bundle), *options]
  assert main.main(['serve', *options]) == 2
  assert sentence in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['short.txt']


def test_wrong_batch_sizes_are_an_error_of_the_arguments(capsys):
  with pytest.raises(SystemExit):
    main.main(['serve', '--batch-sizes', '1,0'])
  assert '--batch-sizes' in capsys.readouterr().err
