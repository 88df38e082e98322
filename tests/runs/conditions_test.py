"""The facts of a start: complete, and without paths and secrets."""

import json
import pathlib
import subprocess

import jax
import pytest

import phenaki_jax
from phenaki_jax import sharding
from phenaki_jax.runs import conditions
from phenaki_jax.runs.experiment import Experiment

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_facts_of_this_process(monkeypatch):
  monkeypatch.setenv('SOME_API_TOKEN', 'a-secret-value')
  monkeypatch.setenv('PHENAKI_COMMIT', '/a/path')
  mesh = sharding.make_mesh(sharding.MeshConfig(fsdp=4))
  experiment = Experiment(kind='tokenizer', tokenizer_dir='/absolute/place')
  facts = conditions.conditions(experiment, mesh)
  assert facts['devices'] == {'kind': 'cpu', 'count': 8, 'processes': 1}
  assert facts['mesh']['fsdp'] == 4
  assert facts['versions']['jax'] == jax.__version__
  assert facts['versions']['phenaki-jax'] == phenaki_jax.__version__
  text = json.dumps(facts)
  assert 'secret' not in text and '/a' not in text
  # Another experiment has another digest.
  other = conditions.conditions(Experiment(kind='tokenizer', seed=1), mesh)
  assert other['config'] != facts['config']


@pytest.fixture
def repository(tmp_path, monkeypatch):
  """Put the package into a repository of its own."""
  package = tmp_path / 'phenaki_jax'
  package.mkdir()
  (package / '__init__.py').write_text('one')
  monkeypatch.setattr(phenaki_jax, '__file__', str(package / '__init__.py'))
  monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
  return tmp_path


def _git(folder, *words):
  names = ['-c', 'user.name=n', '-c', 'user.email=e@example.com']
  subprocess.run(['git', *names, *words], cwd=folder, check=True)


def test_commit_and_changes(repository):
  _git(repository, 'init', '-q')
  _git(repository, 'add', '.')
  _git(repository, 'commit', '-qm', 'One')
  clean = conditions.commit()
  assert len(clean['commit']) == 40 and not clean['dirty']
  (repository / 'phenaki_jax/__init__.py').write_text('two')
  assert conditions.commit() == {**clean, 'dirty': True}


def test_the_repository_of_another_project_is_not_ours(repository, monkeypatch):
  _git(repository, 'init', '-q')
  _git(repository, 'commit', '-qm', 'Theirs', '--allow-empty')
  monkeypatch.delenv('PHENAKI_COMMIT', raising=False)
  assert conditions.commit() == {'commit': None, 'dirty': None}


def test_a_launcher_states_the_commit_of_code_it_sent(repository, monkeypatch):
  monkeypatch.setenv('PHENAKI_COMMIT', '0123abc')
  assert conditions.commit() == {'commit': '0123abc', 'dirty': False}
  monkeypatch.setenv('PHENAKI_COMMIT', '0123abc-dirty')
  assert conditions.commit() == {'commit': '0123abc', 'dirty': True}
  monkeypatch.setenv('PHENAKI_COMMIT', 'my password')
  assert conditions.commit() == {'commit': None, 'dirty': None}
