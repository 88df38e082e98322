"""What the doctor says of folders, caches and packages."""

import types

import pytest

from phenaki_jax.files.ownership import TRUST
from phenaki_jax.runs import doctor


def _checks(workdir):
  return {check.name: check for check in doctor.examine(workdir)}


def test_a_good_machine_has_no_problem(tmp_path):
  folder = tmp_path / 'not' / 'there'
  checks = _checks(folder)
  assert not any(check.is_problem for check in checks.values())
  assert 'jax ' in checks['packages'].found
  assert '8 of cpu' in checks['devices'].found
  assert 'writable' in checks[f'folder {folder}'].found
  assert not list(tmp_path.iterdir()), 'nothing is left behind'


def test_a_file_in_the_way_is_a_problem(tmp_path):
  (tmp_path / 'runs').write_text('')
  name = f'folder {tmp_path / "runs" / "a"}'
  check = _checks(tmp_path / 'runs' / 'a')[name]
  assert check.is_problem and 'is a file' in check.found


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
  """The system's refusal stands for a disk that is full or read-only."""

  def refuse(**_):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(doctor.tempfile, 'TemporaryFile', refuse)
  check = _checks(tmp_path)[f'folder {tmp_path}']
  assert check.is_problem and 'cannot be written (Permission' in check.found


def test_missing_packages_name_their_extra(monkeypatch):
  monkeypatch.setattr(doctor.importlib.util, 'find_spec', lambda name: None)
  check = doctor.examine('.')
  found = {one.name: one for one in check}
  assert 'phenaki-jax[tpu]' in found['libtpu'].advice
  assert not found['libtpu'].is_problem


@pytest.mark.parametrize(
  ('mode', 'trust', 'is_problem'),
  [(0o700, '', False), (0o777, '', True), (0o777, '1', False)],
)
def test_a_cache_is_a_problem_where_training_refuses_it(
  mode, trust, is_problem, tmp_path, monkeypatch
):
  tmp_path.chmod(mode)
  monkeypatch.setenv(TRUST, trust)
  name = 'jax_compilation_cache_dir'
  monkeypatch.setattr(
    doctor.jax, 'config', types.SimpleNamespace(values={name: str(tmp_path)})
  )
  check = doctor._cache()
  assert check.is_problem == is_problem
  assert str(tmp_path) in (check.advice if is_problem else check.found)
