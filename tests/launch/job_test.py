"""What all launchers share, and that the README's commands run."""

import re
import shlex

import pytest
from stand_ins import LAUNCH

README = (LAUNCH / 'README.md').read_text()
COMMANDS = [
  shlex.split(line)
  for line in re.findall(
    r'^    python launch/(.+)$', README.replace('\\\n', ' '), re.MULTILINE
  )
]


def test_the_readme_begins_with_dry_runs():
  assert len(COMMANDS) >= 3
  assert all('--dry-run' in argv for argv in COMMANDS)
  assert README.index('--dry-run') < 100


@pytest.mark.parametrize('argv', COMMANDS, ids=lambda argv: argv[0])
def test_a_dry_run_of_the_readme_is_a_script(
  launch, programs, shellcheck, argv
):
  for name in ('gcloud', 'kubectl', 'sbatch', 'sky'):
    programs.add(name)
  name, *rest = argv
  done = launch(name, *rest)
  shellcheck('#!/bin/bash\n' + done.stdout)
  # The words after `--` are what is run.
  after = rest[rest.index('--') + 1 :]
  words = [word for word in after if not word.startswith('-')]
  assert all(word in done.stdout for word in words)
  assert programs.calls == []


def test_every_launcher_is_in_the_readme():
  for path in LAUNCH.glob('*.py'):
    if "if __name__ == '__main__'" in path.read_text():
      assert f'| `{path.name}` |' in README


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('tpu_vm.py', ['--accelerator=v4-8', '--zone=z', '--bucket=gs://b']),
    ('jobset.py', ['--accelerator=v4-8', '--image=i']),
    ('slurm.py', []),
    ('skypilot.py', ['--accelerator=v4-8']),
  ],
)
def test_a_command_is_needed(launch, name, options):
  done = launch(name, '--name=a', *options, code=2)
  assert 'give a phenaki command after --' in done.stderr


@pytest.mark.parametrize(
  ('name', 'options', 'program'),
  [
    ('slurm.py', [], 'sbatch'),
    ('jobset.py', ['--accelerator=v4-8', '--image=i'], 'kubectl'),
    ('skypilot.py', ['--accelerator=v4-8'], 'sky'),
    (
      'tpu_vm.py',
      ['--accelerator=v4-8', '--zone=z', '--bucket=gs://b'],
      'gcloud',
    ),
  ],
)
def test_a_program_that_is_missing_is_named(
  launch, programs, monkeypatch, name, options, program
):
  # The commit of a folder without changes.
  programs.add('git', 'case $1 in rev-parse) echo 0123abcd ;; esac')
  monkeypatch.setattr(
    type(programs), 'environment', {'PATH': str(programs.folder / 'bin')}
  )
  done = launch(name, '--name=a', *options, '--', 'train', code=1)
  assert f'{program} is not installed.' in done.stderr
