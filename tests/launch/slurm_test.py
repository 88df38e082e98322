"""The batch script of Slurm, as text and as `sbatch` and `srun` run it."""

import re
import sys

import pytest
from stand_ins import ROOT, document

OPTIONS = ['--name=big', '--nodes=2', '--gpus=8', '--time=1:00:00']


def test_a_dry_run_shows_a_script_without_warnings(launch, shellcheck):
  done = launch('slurm.py', *OPTIONS, '--dry-run', '--', 'train', '--a', 'b c')
  shellcheck('#!/bin/bash\n' + done.stdout)
  script = document(done.stdout)
  shellcheck(script)
  options = dict(re.findall(r'^#SBATCH --([\w-]+)=(.*)$', script, re.MULTILINE))
  assert options == {
    'job-name': 'big',
    'dependency': 'singleton',
    'nodes': '2',
    'ntasks-per-node': '8',
    'gpus-per-node': '8',
    'time': '1:00:00',
    'signal': 'B:USR1@120',
    'open-mode': 'append',
    'output': 'big-%j.log',
  }
  assert '#SBATCH --requeue\n' in script


# One task per process, with what Slurm tells each of them. As the real one, it
# kills the tasks after a SIGTERM and after one that fails
# (--kill-on-bad-exit), and ends with the highest code.
SRUN = """
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
pids=()
trap 'echo "srun: forcing job termination"; kill -KILL "${pids[@]}"' TERM
for task in 0 1; do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & pids+=($!)
done
echo "${pids[@]}" > "$STAND_IN/pids"
code=0 left=2
while [ "$left" -gt 0 ]; do
  wait -n -p ended; one=$?
  [ "$one" != 127 ] || exit 137  # None is left after a SIGTERM.
  [ -n "${ended:-}" ] || continue  # A signal has ended the `wait`.
  left=$((left - 1))
  [ "$one" -le "$code" ] || code=$one
  if [ "$one" -gt 0 ]; then kill -KILL "${pids[@]}" 2> /dev/null; fi
done
exit "$code"
"""
# Only to the tasks.
SCANCEL = """
[ "$*" = '--signal=TERM 77' ] || exit 1
read -r -a pids < "$STAND_IN/pids"
kill -TERM "${pids[@]}"
"""
# The processes meet, and the first writes how many they are.
MEET = """
import os, sys
from phenaki_jax.runs.train import joined_processes
import jax
with joined_processes() as is_first:
  if is_first:
    with open(os.environ['STAND_IN'] + '/met', 'w') as file:
      print(jax.process_count(), sys.argv[1:], file=file)
"""


@pytest.mark.parametrize('is_first_refused', [False, True])
def test_the_time_limit_stops_the_tasks_and_requeues_the_job(
  launch, programs, is_first_refused
):
  programs.add('sbatch', 'SLURM_JOB_ID=77 bash "$1"')
  programs.add('srun', SRUN)
  refuse = 'if mkdir "$STAND_IN/refused" 2> /dev/null; then exit 1; fi\n'
  programs.add('scancel', refuse * is_first_refused + SCANCEL)
  programs.add('scontrol')
  # Task 0 saves at once; task 1 would save for ever, and is killed.
  (programs.folder / 'task').write_text(
    'trap \'echo "$SLURM_PROCID" >> "$STAND_IN/saved"; '
    '[ "$SLURM_PROCID" = 0 ] && sleep 0.3 && exit 75\' TERM\n'
    'touch "$STAND_IN/ready$SLURM_PROCID"\n'
    'while true; do sleep 0.05; done\n'
  )
  # Slurm signals the script, which has become the supervisor, when both run.
  program = (
    'import sys; sys.path.insert(0, "launch"); import supervisor; '
    'supervisor._STOPPING = 1; sys.exit(supervisor.main())'
  )
  programs.add(
    'python3',
    'if [ "$1" = -m ]; then exec bash "$STAND_IN/task"; fi\n'
    'supervisor=$$\n'
    '(until [ -e "$STAND_IN/ready0" ] && [ -e "$STAND_IN/ready1" ]; do\n'
    '  sleep 0.05; done; kill -USR1 "$supervisor") &\n'
    f'shift; exec {sys.executable} -c \'{program}\' "$@"\n',
    is_recorded=False,
  )
  done = launch('slurm.py', '--name=big', '--gpus=2', '--', 'train', code=75)
  assert 'forcing job termination' not in done.stdout
  saved = (programs.folder / 'saved').read_text().split()
  assert sorted(saved) == ['0', '1'], 'each task gets one signal'
  _, _, *calls = programs.calls
  assert calls == (
    ['scancel --signal=TERM 77'] * (1 + is_first_refused)
    + ['scontrol requeue 77']
  )


@pytest.mark.slow
def test_the_processes_of_a_job_find_each_other(launch, programs):
  programs.add('sbatch', f'cd {ROOT}; SLURM_JOB_ID=77 bash "$1"')
  programs.add('srun', SRUN)
  program = programs.folder / 'meet.py'
  program.write_text(MEET)
  # In place of `python3 -m phenaki_jax`.
  programs.add(
    'python3',
    'if [ "$1" = -m ]; then shift 2; set -- "$STAND_IN/meet.py" "$@"; fi\n'
    f'exec {sys.executable} "$@"\n',
    is_recorded=False,
  )
  launch('slurm.py', '--name=big', '--gpus=2', '--', 'train', 'x')
  assert (programs.folder / 'met').read_text() == "2 ['train', 'x']\n"
  assert [call.split()[0] for call in programs.calls] == ['sbatch', 'srun']
