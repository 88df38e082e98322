"""What the supervisor does after each exit code and signal."""

import signal
import subprocess
import sys
import time

import pytest
from stand_ins import LAUNCH


@pytest.fixture
def supervise(programs):
  """Return a function that supervises a command which plays exit codes."""

  def run(codes, *, retries=3, extra='', argv=()):
    (programs.folder / 'codes').write_text('\n'.join(map(str, codes)) + '\n')
    programs.add(
      'train',
      'code=$(head -n 1 "$STAND_IN/codes"); sed -i 1d "$STAND_IN/codes"\n'
      f'{extra}\n'
      'case $code in kill) kill -KILL $$;; *) exit "$code";; esac\n',
    )
    # The same program, with waits of hundredths of seconds.
    program = (
      'import sys; sys.path.insert(0, sys.argv.pop(1)); import supervisor; '
      'retries = supervisor.Retries; '
      'supervisor.Retries = lambda n: retries(n, first_wait=0.01); '
      'sys.exit(supervisor.main())'
    )
    return subprocess.run(
      [sys.executable, '-c', program, str(LAUNCH)]
      + [f'--retries={retries}', '--', 'train', *map(str, argv)],
      env=programs.environment,
      capture_output=True,
      text=True,
      timeout=60,
    )

  return run


@pytest.mark.parametrize(
  ('codes', 'end', 'starts'),
  [
    ([0], 0, 1),
    ([2], 2, 1),  # An error of the user, before the first checkpoint.
    ([75, 75, 75, 75, 75, 75, 0], 0, 7),  # More than --retries.
    ([1, 75, 'kill', 0], 0, 4),
    ([1, 1, 1, 1, 0], 1, 4),
    (['kill', 'kill', 'kill', 'kill', 0], 137, 4),
  ],
)
def test_exit_codes(supervise, programs, codes, end, starts):
  done = supervise(codes)
  assert done.returncode == end, done.stderr
  assert len(programs.calls) == starts


def test_waits_grow_and_the_limit_is_named(supervise):
  said = supervise([1, 1, 1, 1]).stderr
  for words in (
    'code 1; retry 1 of 3 in 0.01 seconds',
    'retry 2 of 3 in 0.02 seconds',
    'retry 3 of 3 in 0.04 seconds',
    'giving up after 3 retries',
  ):
    assert words in said


def test_a_new_checkpoint_resets_the_count(supervise, programs, tmp_path):
  extra = (
    f'step=$(wc -l < "$STAND_IN/calls"); place="{tmp_path}/run/checkpoints"\n'
    'if [ "$step" -le 4 ]; then mkdir -p "$place/$step"; '
    'touch "$place/$step/manifest.json"; fi'
  )
  done = supervise(
    [1] * 9, retries=2, extra=extra, argv=['--workdir', tmp_path / 'run']
  )
  assert done.returncode == 1
  # Four starts with a new checkpoint, the last with two retries.
  assert len(programs.calls) == 6
  assert done.stderr.count('retry 1 of 2') == 4


def test_a_job_with_a_checkpoint_goes_on_after_code_2(
  supervise, programs, tmp_path
):
  place = tmp_path / 'run/checkpoints/5'
  place.mkdir(parents=True)
  (place / 'manifest.json').touch()
  done = supervise([2, 2, 0], argv=[f'--workdir={tmp_path / "run"}'])
  assert done.returncode == 0
  assert len(programs.calls) == 3


@pytest.mark.parametrize(
  ('number', 'requeued'), [(signal.SIGTERM, False), (signal.SIGUSR1, True)]
)
def test_a_signal_reaches_the_command_and_ends_with_75(
  programs, number, requeued
):
  programs.add(
    'train', "trap 'echo saved; exit 75' TERM\necho ready\nsleep 60 & wait\n"
  )
  programs.add('scontrol')
  running = subprocess.Popen(
    [sys.executable, str(LAUNCH / 'supervisor.py')]
    + ['--requeue=scontrol requeue 7', '--', 'train'],
    env=programs.environment,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert running.stdout.readline() == 'ready\n'
  running.send_signal(number)
  assert running.wait(timeout=30) == 75
  # Not to its end, which would wait for the `sleep` of the stand-in.
  assert running.stdout.readline() == 'saved\n'
  running.stdout.close()
  assert programs.calls == ['train '] + ['scontrol requeue 7'] * requeued


@pytest.mark.parametrize(('code', 'requeued'), [(1, True), (2, False)])
def test_only_an_error_of_the_user_is_not_requeued(programs, code, requeued):
  # A process that fails because another was stopped first is no such error.
  programs.add('train', f"trap 'exit {code}' TERM\necho\nsleep 9 & wait\n")
  programs.add('scontrol')
  running = subprocess.Popen(
    [sys.executable, str(LAUNCH / 'supervisor.py')]
    + ['--requeue=scontrol requeue 7', '--', 'train'],
    env=programs.environment,
    stdout=subprocess.PIPE,
  )
  running.stdout.readline()
  running.send_signal(signal.SIGUSR1)
  assert running.wait(timeout=30) == (75 if requeued else code)
  running.stdout.close()
  assert programs.calls == ['train '] + ['scontrol requeue 7'] * requeued


@pytest.mark.parametrize(
  ('number', 'requeued'), [(signal.SIGTERM, False), (signal.SIGUSR1, True)]
)
def test_a_signal_between_two_starts_ends_the_wait(programs, number, requeued):
  programs.add('train', 'exit 1\n')
  programs.add('scontrol')
  running = subprocess.Popen(
    [sys.executable, str(LAUNCH / 'supervisor.py')]
    + ['--requeue=scontrol requeue 7', '--', 'train'],
    env=programs.environment,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert 'retry 1 of 5 in 10 seconds' in running.stderr.readline()
  began = time.monotonic()
  running.send_signal(number)
  assert running.wait(timeout=30) == 75
  assert time.monotonic() - began < 5
  running.stderr.close()
  assert programs.calls == ['train '] + ['scontrol requeue 7'] * requeued
