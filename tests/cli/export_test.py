"""`phenaki export` refuses wrong arguments in one sentence."""

import json

import jaxtyping
import pytest

from phenaki_jax.cli import main
from phenaki_jax.export import bundle

REFERENCE = str(bundle.reference_dir())


@pytest.mark.parametrize(
  ('options', 'sentence'),
  [
    (['--run', 'nothing'], 'there is no folder nothing'),
    (['--run', '.'], 'there is no model in .; name the --workdir'),
    (['--run', REFERENCE, '--scores', '.'], 'phenaki evaluate'),
    ([], 'give --run'),
    (['--run', '.', '--model', '.'], 'give --run'),
    (['--format', 'stablehlo', '--run', 'x'], 'give --model x'),
    (['--format', 'stablehlo', '--model', 'x'], 'there is no folder x'),
    (['--format', 'stablehlo', '--dtype', 'int8'], '--dtype is for --format b'),
    (
      ['--format', 'savedmodel', '--note', 'A trial.'],
      '--note is for --format',
    ),
    (['--format', 'stablehlo', '--out', 'gs://b/x'], '--out is gs://b/x, but'),
    (['--format', 'savedmodel', '--out', 's3://b/x'], '--out is s3://b/x, but'),
    (['--format', 'savedmodel', '--scores', 'x'], '--scores is for --format b'),
    (['--run', '.', '--steps', '2'], '--steps is for --format stablehlo or'),
  ],
)
def test_wrong_arguments_end_in_one_sentence(
  tmp_path, monkeypatch, capsys, options, sentence
):
  monkeypatch.chdir(tmp_path)
  assert main.main(['export', '--out', 'bundle', *options]) == 2
  assert sentence in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


@pytest.fixture
def _no_shape_checks():
  """Turn them off: they cannot compare a symbolic batch with a size of 1."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


@pytest.mark.slow
@pytest.mark.usefixtures('_no_shape_checks')
def test_programs_of_a_bundle_say_how_to_export_them_again(
  tmp_path, tiny_bundle, capsys
):
  out = tmp_path / 'programs'
  options = ['--model', str(tiny_bundle), '--out', str(out), '--steps', '2']
  assert main.main(['export', '--format', 'stablehlo', *options]) == 0
  assert 'another process made the frames' in capsys.readouterr().out
  manifest = json.loads((out / 'programs.json').read_text())
  assert manifest['export_again'] == (
    f'phenaki export --format stablehlo --model {tiny_bundle} --steps 2 '
    f'--out {out}'
  )
