"""The batch script of Slurm, as text and as `sbatch` and `srun` run it."""

import re

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


# One task per process, with what Slurm tells each of them.
SRUN = """
shift
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
pids=()
for task in 0 1; do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit "${code:-0}"
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
    'exec python "$@"\n',
    is_recorded=False,
  )
  launch('slurm.py', '--name=big', '--gpus=2', '--', 'train', 'x')
  assert (programs.folder / 'met').read_text() == "2 ['train', 'x']\n"
  assert [call.split()[0] for call in programs.calls] == ['sbatch', 'srun']
