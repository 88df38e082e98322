"""Queued resources: what is asked of gcloud in each state, and the host."""

import io
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
from stand_ins import LAUNCH, document

# Plays a state of the file `states` in each `describe`; `done:CODE` is an
# ACTIVE resource whose job has ended.
GCLOUD = r"""
case "$*" in
  *describe*)
    state=$(head -n 1 "$STAND_IN/states"); sed -i 1d "$STAND_IN/states"
    case $state in
      absent) echo 'ERROR: NOT_FOUND: no such resource' >&2; exit 1 ;;
      broken) echo 'ERROR: UNAVAILABLE: try later' >&2; exit 1 ;;
      done:*) echo "${state#done:}" > "$STAND_IN/exit_code"; echo ACTIVE ;;
      *) echo "$state" ;;
    esac ;;
  *' cat '*) cat "$STAND_IN/exit_code" ;;
  *' rm '*) rm "$STAND_IN/exit_code" ;;
  *create*)
    if [ -e "$STAND_IN/no_creation" ]; then
      rm "$STAND_IN/no_creation"; exit 5
    fi
    all=$*; script=${all##*startup-script=}
    cp "${script%% *}" "$STAND_IN/startup.sh" ;;
esac
"""
OPTIONS = [
  *('--name=big', '--zone=us-east5-a', '--accelerator=v5p-128'),
  *('--bucket=gs://b/jobs', '--poll=0.01', '--spot'),
]
TRAIN = ['--', 'train', '--config', 'a b.py']


@pytest.fixture
def repository(tmp_path):
  """Make a repository with one commit."""
  folder = tmp_path / 'repository'
  folder.mkdir()
  (folder / 'file').write_text('content')
  git = ['git', '-c', 'user.name=n', '-c', 'user.email=e@example.com']
  for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'One']):
    subprocess.run([*git, *words], cwd=folder, check=True)
  return folder


@pytest.fixture
def play(launch, programs, repository):
  """Return a function that runs the launcher while gcloud plays states."""

  def run(*states, argv=OPTIONS, code=0):
    programs.add('gcloud', GCLOUD)
    (programs.folder / 'states').write_text('\n'.join(states) + '\n')
    done = launch('tpu_vm.py', *argv, *TRAIN, cwd=repository, code=code)
    assert (programs.folder / 'states').read_text() == '', 'states are left'
    return done

  return run


def _verbs(programs):
  """Return what was asked of gcloud, without looks and arguments."""
  verbs = re.findall(r' (create|delete|cp|rm) ', '\n'.join(programs.calls))
  return ' '.join(verbs)


def test_preempted_and_failed_resources_are_created_again(play, programs):
  done = play(
    *('absent', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'),
    *('SUSPENDING', 'SUSPENDED', 'PROVISIONING', 'FAILED', 'ACTIVE', 'done:0'),
  )
  create = 'cp rm create'
  assert _verbs(programs) == (
    f'{create} delete {create} delete {create} delete'
  )
  creations = [call for call in programs.calls if ' create ' in call]
  without_file = {re.sub(r'script=\S+', '', call) for call in creations}
  assert without_file == {
    'gcloud compute tpus queued-resources create big '
    '--accelerator-type=v5p-128 --runtime-version=v2-alpha-tpuv5 '
    '--node-id=big --metadata-from-file=startup- --spot --zone=us-east5-a'
  }
  assert 'big: SUSPENDED\nbig: PROVISIONING\n' in done.stdout
  assert '64 chips as 4x4x4 on 16 hosts' in done.stdout


def test_a_job_that_runs_is_followed_and_its_exit_code_returned(play, programs):
  play('ACTIVE', 'done:3', code=3)
  assert _verbs(programs) == 'delete'


def test_failures_in_a_row_are_limited_with_growing_waits(play, programs):
  done = play(
    *('absent', 'FAILED', 'broken', 'FAILED'),
    argv=[*OPTIONS, '--retries=2'],
    code=1,
  )
  assert 'It is FAILED; retry 1 of 2 in 0.01 seconds' in done.stderr
  assert 'UNAVAILABLE: try later' in done.stderr
  assert 'It is unknown; retry 2 of 2 in 0.02 seconds' in done.stderr
  assert 'It is FAILED; giving up after 2 retries' in done.stderr
  # An answer that gcloud could not get is no reason to create anything.
  assert _verbs(programs) == 'cp rm create delete cp rm create'


def test_a_failing_creation_is_tried_again_unless_it_is_the_first(
  play, programs
):
  no_creation = programs.folder / 'no_creation'
  no_creation.touch()
  play('absent', code=5)
  no_creation.touch()
  done = play('ACTIVE', 'SUSPENDED', 'absent', 'done:0')
  assert 'gcloud ended with code 5; retry 1 of 5' in done.stderr
  assert _verbs(programs).endswith('delete cp rm create cp rm create delete')


def test_slices_are_nodes_of_one_resource(play, programs):
  play('absent', 'done:0', argv=[*OPTIONS, '--slices=2', '--project=p'])
  (create,) = (call for call in programs.calls if ' create ' in call)
  assert '--node-count=2 --node-prefix=big ' in create
  assert create.endswith('--zone=us-east5-a --project=p')


def test_changes_that_are_not_committed_are_refused(
  launch, programs, repository
):
  programs.add('gcloud', GCLOUD)
  (repository / 'file').write_text('changed')
  done = launch('tpu_vm.py', *OPTIONS, *TRAIN, cwd=repository, code=1)
  assert 'commit or stash them' in done.stderr
  assert programs.calls == []


def test_logs_and_delete_need_no_command(launch, programs):
  programs.add('gcloud')
  launch('tpu_vm.py', *OPTIONS, '--action=logs', '--slices=2')
  launch('tpu_vm.py', *OPTIONS, '--action=delete')
  tail = '--command=tail -n 100 /opt/phenaki/big/job.log --zone=us-east5-a'
  assert programs.calls == [
    f'gcloud compute tpus tpu-vm ssh big-0 --worker=0 {tail}',
    f'gcloud compute tpus tpu-vm ssh big-1 --worker=0 {tail}',
    'gcloud compute tpus queued-resources delete big --force --quiet '
    '--zone=us-east5-a',
  ]


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ('--accelerator=v5e-16', 'did you mean v5litepod-16?'),
    ('--runtime-version=v2-alpha-tpuv5-lite', 'v5p-128 takes v2-alpha-tpuv5;'),
    ('--name=Big', "'Big' is not a name"),
    ('--slices=0', "'0' is not a whole number of at least 1"),
    ('--env=A', "'A' is not NAME=VALUE"),
    ('--bucket=b', '--bucket is b, but must start with gs://'),
  ],
)
def test_wrong_options_are_refused_before_anything_is_run(
  launch, programs, change, said
):
  programs.add('gcloud')
  done = launch('tpu_vm.py', *OPTIONS, change, *TRAIN, code=2)
  assert said in done.stderr
  assert programs.calls == []


def test_a_dry_run_runs_nothing_and_is_a_script(
  launch, programs, repository, shellcheck
):
  programs.add('gcloud')
  done = launch('tpu_vm.py', *OPTIONS, '--dry-run', *TRAIN, cwd=repository)
  assert programs.calls == []
  shellcheck('#!/bin/bash\n' + done.stdout)
  shellcheck(document(done.stdout))
  assert {path.name for path in repository.iterdir()} == {'.git', 'file'}


def test_install_script_has_no_warning(shellcheck):
  shellcheck((LAUNCH / 'install.sh').read_text())


# A training that is preempted at first and then ends with a code.
MODULE = """
import os, pathlib, sys
place = pathlib.Path(os.environ['STAND_IN'])
with (place / 'calls').open('a') as file:
  words = [os.environ['PHENAKI_COORDINATOR'], os.environ['PHENAKI_COMMIT'][:4]]
  print(*words, *sys.argv[1:], file=file)
code = (place / 'code').read_text() if (place / 'again').exists() else '75'
(place / 'again').touch()
sys.exit(int(code))
"""


@pytest.mark.parametrize(
  ('worker', 'slice_id', 'code', 'left'),
  [
    ('0', None, 0, '0\n'),
    ('0', '0', 2, '2\n'),
    ('0', '1', 0, None),
    ('0', None, 143, None),  # Preempted: the job is not over.
  ],
)
def test_the_startup_script_of_a_host(
  play, programs, repository, tmp_path, worker, slice_id, code, left
):
  # What the launcher sent, with our launchers as the code.
  (repository / 'phenaki_jax').mkdir()
  (repository / 'phenaki_jax/__init__.py').touch()
  (repository / 'phenaki_jax/__main__.py').write_text(MODULE)
  shutil.copytree(LAUNCH, repository / 'launch')
  play('absent', 'done:0', argv=[*OPTIONS, '--env=A=1 2', '--retries=0'])
  place = programs.folder
  (place / 'calls').unlink()
  (place / 'exit_code').unlink()
  (place / 'code').write_text(str(code))
  with tarfile.open(place / 'code.tar.gz', 'w:gz') as tar:
    for name in ('launch', 'phenaki_jax'):
      tar.add(repository / name, name)
    python = f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()
    info = tarfile.TarInfo('.venv/bin/python')
    info.size, info.mode = len(python), 0o755
    tar.addfile(info, io.BytesIO(python))
  slices = '' if slice_id is None else f"MEGASCALE_SLICE_ID: '{slice_id}'"
  programs.add(
    'curl',
    f'case "$*" in */agent-worker-number) echo {worker} ;;\n'
    f'*) printf "WORKER_ID: \'{worker}\'\\n{slices}\\n" ;; esac\n',
    is_recorded=False,
  )
  programs.add('python3', is_recorded=False)  # pip and uv
  programs.add(
    'gcloud',
    'from=${*: -2:1}; to=${*: -1}\n'
    'case $from in -) cat > "$STAND_IN/${to##*/}" ;;\n'
    'gs:*) cp "$STAND_IN/${from##*/}" "$to" ;;\n'
    '*) cp "$from" "$STAND_IN/${to##*/}" ;; esac\n',
    is_recorded=False,
  )
  script = (place / 'startup.sh').read_text()
  done = subprocess.run(
    ['bash', '-c', script.replace('/opt/phenaki', str(tmp_path / 'opt'))],
    env=programs.environment,
    capture_output=True,
    text=True,
    timeout=60,
  )
  log = (place / f'log-{slice_id or 0}-{worker}.txt').read_text()
  assert done.returncode == code, done.stderr + log
  # Twice the same command; and what the first start said is in the log.
  start = programs.calls[0]
  assert programs.calls == [start, start]
  assert re.match(r'auto [0-9a-f]{4} train --config a b.py', start)
  assert 'Preempted; starting again.' in log
  path = place / 'exit_code'
  assert (path.read_text() if path.exists() else None) == left
