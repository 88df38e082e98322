"""Queued resources: what is asked of gcloud in each state, and the host."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import types

import pytest
from stand_ins import LAUNCH, document

# Plays a state of the file `states` in each `describe`; `done:CODE` is an
# ACTIVE resource whose job has ended, `lost:CODE` one that was suspended then.
# `saved:STATE` saves a checkpoint before that state. After the last state there
# is a job that ended with code 99.
GCLOUD = r"""
case "$*" in
  *describe*)
    state=$(head -n 1 "$STAND_IN/states"); sed -i 1d "$STAND_IN/states"
    state=${state:-done:99}
    case $state in saved:*)
      step=$(wc -l < "$STAND_IN/saved"); state=${state#saved:}
      echo "gs://b/run/checkpoints/$step/manifest.json" >> "$STAND_IN/saved" ;;
    esac
    case $state in
      absent) echo 'ERROR: NOT_FOUND: no such resource' >&2; exit 1 ;;
      broken) echo 'ERROR: UNAVAILABLE: try later' >&2; exit 1 ;;
      done:*) echo "${state#done:}" > "$STAND_IN/exit_code"; echo ACTIVE ;;
      lost:*) echo "${state#lost:}" > "$STAND_IN/exit_code"; echo SUSPENDED ;;
      *) echo "$state" ;;
    esac ;;
  *' cat '*)
    if [ -e "$STAND_IN/no_cat" ]; then
      rm "$STAND_IN/no_cat"; echo 'ERROR: no answer' >&2; exit 1
    fi
    cat "$STAND_IN/exit_code" ;;
  *' ls gs://b/run/checkpoints/'*) cat "$STAND_IN/saved" ;;
  *' cp '*exit_code)
    if [ -e "$STAND_IN/no_cp" ]; then rm "$STAND_IN/no_cp"; exit 6; fi
    from=${*: -2:1}; cp "$from" "$STAND_IN/exit_code" ;;
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

  def run(*states, argv=OPTIONS, train=TRAIN, code=0):
    programs.add('gcloud', GCLOUD)
    (programs.folder / 'states').write_text('\n'.join(states) + '\n')
    if states[0] != 'absent':  # An earlier launcher has created it.
      (programs.folder / 'exit_code').touch()
    (programs.folder / 'saved').touch()
    done = launch('tpu_vm.py', *argv, *train, cwd=repository, code=code)
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
  create = 'cp cp create'
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
    *('absent', 'FAILED', 'broken', 'ACTIVE', 'FAILED', 'FAILED'),
    argv=[*OPTIONS, '--retries=2'],
    code=1,
  )
  assert 'It is FAILED; retry 1 of 2 in 0.01 seconds' in done.stderr
  assert 'UNAVAILABLE: try later' in done.stderr
  # That of an answer that gcloud could not get is counted for itself.
  assert 'It is unknown; retry 1 of 2 in 0.01 seconds' in done.stderr
  assert 'It is FAILED; retry 2 of 2 in 0.02 seconds' in done.stderr
  assert 'It is FAILED; giving up after 2 retries' in done.stderr
  # It is no reason to create anything; and ACTIVE alone is no progress.
  create = 'cp cp create'
  assert _verbs(programs) == f'{create} delete {create} delete {create}'


def test_a_new_checkpoint_resets_the_count_of_failures(play):
  done = play(
    *('absent', 'FAILED', 'saved:FAILED', 'FAILED', 'saved:ACTIVE', 'FAILED'),
    *('FAILED', 'FAILED'),
    argv=[*OPTIONS, '--retries=2'],
    train=[*TRAIN, '--workdir', 'gs://b/run'],
    code=1,
  )
  assert done.stderr.count('It is FAILED; retry 1 of 2') == 3
  assert done.stderr.count('It is FAILED; retry 2 of 2') == 2


def test_the_exit_code_of_an_earlier_job_is_not_read(play, programs):
  (programs.folder / 'exit_code').write_text('0')
  (programs.folder / 'no_cp').touch()
  # Where it cannot be overwritten, nothing is created.
  play('absent', code=6)
  assert _verbs(programs) == 'cp cp'
  play('absent', 'ACTIVE', 'ACTIVE', 'done:3', code=3)


def test_a_job_that_ended_before_its_machines_were_lost_is_over(play, programs):
  play('lost:0')
  assert _verbs(programs) == 'delete'


def test_a_lost_job_is_not_started_while_its_exit_code_is_unknown(
  play, programs
):
  (programs.folder / 'no_cat').touch()
  done = play('lost:3', 'lost:3', code=3)
  assert (
    'unknown, as is its exit code: ERROR: no answer; retry 1' in done.stderr
  )
  assert _verbs(programs) == 'delete'


def test_a_wrong_login_is_not_retried(play):
  done = play('broken', code=1)
  assert 'UNAVAILABLE: try later' in done.stderr
  assert 'retry' not in done.stderr


def test_a_failing_creation_is_tried_again_unless_it_is_the_first(
  play, programs
):
  no_creation = programs.folder / 'no_creation'
  no_creation.touch()
  play('absent', code=5)
  no_creation.touch()
  done = play('ACTIVE', 'SUSPENDED', 'absent', 'done:0')
  assert 'gcloud ended with code 5; retry 1 of 5' in done.stderr
  assert _verbs(programs).endswith('delete cp cp create cp cp create delete')


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


def test_a_folder_without_commits_is_refused(
  launch, programs, tmp_path, monkeypatch
):
  monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
  programs.add('gcloud', GCLOUD)
  done = launch('tpu_vm.py', *OPTIONS, *TRAIN, cwd=tmp_path, code=1)
  assert 'start the launcher in the repository' in done.stderr
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


@pytest.fixture
def start_host(play, programs, repository, tmp_path):
  """Return a function that runs the startup script on a host.

  The first `broken` downloads fail, and the first `broken` installations.
  """

  def run(*, worker='0', slice_id=None, code=0, retries=0, broken=0):
    # What the launcher sent, with our launchers as the code.
    (repository / 'phenaki_jax').mkdir()
    (repository / 'phenaki_jax/__init__.py').touch()
    (repository / 'phenaki_jax/__main__.py').write_text(MODULE)
    shutil.copytree(LAUNCH, repository / 'launch')
    argv = [*OPTIONS, '--env=A=1 2', f'--retries={retries}']
    play('absent', 'done:0', argv=argv)
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
    fail = (
      'echo >> "$STAND_IN/{0}"\n'
      f'if [ "$(wc -l < "$STAND_IN/{{0}}")" -le {broken} ]; then exit 3; fi\n'
    )
    # pip and uv
    programs.add('python3', fail.format('installs'), is_recorded=False)
    programs.add('sleep')
    programs.add(
      'gcloud',
      'from=${*: -2:1}; to=${*: -1}\n'
      'case $from in\n'
      f'-) {fail.format("ends")} cat > "$STAND_IN/${{to##*/}}" ;;\n'
      f'gs:*) {fail.format("downloads")}'
      'cp "$STAND_IN/${from##*/}" "$to" ;;\n'
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
    path = place / 'exit_code'
    left = path.read_text() if path.exists() else None
    return types.SimpleNamespace(code=done.returncode, log=log, left=left)

  return run


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
  start_host, programs, worker, slice_id, code, left
):
  done = start_host(worker=worker, slice_id=slice_id, code=code)
  assert done.code == code, done.log
  # Twice the same command; and what the first start said is in the log.
  start = programs.calls[0]
  assert programs.calls == [start, start]
  assert re.match(r'auto [0-9a-f]{4} train --config a b.py', start)
  assert 'Preempted; starting again.' in done.log
  assert done.left == left


def test_downloads_installations_and_the_last_upload_are_retried(
  start_host, programs
):
  done = start_host(broken=1, retries=2)
  assert (done.code, done.left) == (0, '0\n'), done.log
  # After the download, after the installation, and after the exit code.
  sleeps = [call for call in programs.calls if call.startswith('sleep')]
  assert sleeps == ['sleep 10', 'sleep 20', 'sleep 60']


def test_code_that_cannot_be_installed_ends_the_job(start_host, programs):
  done = start_host(broken=2, retries=1)
  assert (done.code, done.left) == (1, '1\n')
  assert 'giving up after 1 retries' in done.log
  assert not any('train' in call for call in programs.calls)
