"""Running launchers, with scripted programs in place of those of clouds."""

import importlib
import pathlib
import subprocess
import sys
import types

import pytest

HERE = pathlib.Path(__file__).parent
# The launchers import each other as scripts do, and the tests `stand_ins`.
sys.path[:0] = [str(HERE), str(HERE.parents[1] / 'launch')]

from stand_ins import ROOT, Programs  # noqa: E402


@pytest.fixture
def programs(tmp_path):
  folder = tmp_path / 'programs'
  folder.mkdir()
  return Programs(folder)


@pytest.fixture
def launch(programs, monkeypatch, capfd):
  """Return a function that runs a launcher to its end, in this process."""

  def run(name, *argv, cwd=ROOT, code=0):
    for variable, value in programs.environment.items():
      monkeypatch.setenv(variable, value)
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, 'argv', [name, *map(str, argv)])
    message = ''
    try:
      ended = importlib.import_module(name.removesuffix('.py')).main()
    except SystemExit as stop:
      is_text = isinstance(stop.code, str)
      ended, message = (1, stop.code) if is_text else (stop.code, '')
    out, err = capfd.readouterr()
    assert ended == code, out + err + message
    return types.SimpleNamespace(stdout=out, stderr=err + message)

  return run


@pytest.fixture
def shellcheck():
  """Return a function that asserts that a shell script has no warning."""

  def check(script):
    program = pathlib.Path(sys.executable).with_name('shellcheck')
    done = subprocess.run(
      [program, '--shell=bash', '-'],
      input=script,
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stdout

  return check
