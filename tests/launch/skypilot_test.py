"""The task of SkyPilot, checked against the part of its schema used here.

The schema is a copy, by hand, of those fields of `sky.utils.schemas` (0.14.1).
"""

import jsonschema
import pytest
import yaml
from stand_ins import document

OPTIONS = ['--name=big', '--accelerator=v5litepod-256', '--spot']
TRAIN = ['--', 'train', '--config', 'a b.py']

TEXT, FLAG = {'type': 'string'}, {'type': 'boolean'}
CODE = {'type': 'integer', 'minimum': 0, 'maximum': 255}


def _object(**properties):
  return {
    'type': 'object',
    'additionalProperties': False,
    'properties': properties,
  }


TASK = _object(
  name=TEXT,
  workdir=TEXT,
  num_nodes={'type': 'integer'},
  resources=_object(
    infra={'type': 'string', 'pattern': r'^gcp(/[^/]+(/[^/]+)?)?$'},
    accelerators=TEXT,
    accelerator_args=_object(runtime_version=TEXT, tpu_name=TEXT, tpu_vm=FLAG),
    use_spot=FLAG,
    job_recovery=_object(
      strategy=TEXT,
      max_restarts_on_errors={'type': 'integer', 'minimum': 0},
      recover_on_exit_codes={'type': 'array', 'items': CODE},
    ),
  ),
  envs={
    'type': 'object',
    'patternProperties': {'^[a-zA-Z_][a-zA-Z0-9_]*$': TEXT},
    'additionalProperties': False,
  },
  setup=TEXT,
  run=TEXT,
)


def test_the_task_matches_the_schema(launch, shellcheck):
  done = launch('skypilot.py', *OPTIONS, '--zone=z', '--dry-run', *TRAIN)
  shellcheck('#!/bin/bash\n' + done.stdout)
  task = yaml.safe_load(document(done.stdout))
  jsonschema.validate(task, TASK)
  with pytest.raises(jsonschema.ValidationError, match='accelerator'):
    jsonschema.validate({**task, 'accelerator': 'tpu-v4-8'}, TASK)
  resources = task['resources']
  assert resources['accelerators'] == 'tpu-v5litepod-256'
  args = resources['accelerator_args']
  assert args['runtime_version'] == 'v2-alpha-tpuv5-lite'
  assert resources['infra'] == 'gcp/*/z' and resources['use_spot']
  assert resources['job_recovery']['recover_on_exit_codes'] == [75]
  run = ".venv/bin/python -m phenaki_jax train --config 'a b.py'"
  assert task['run'] == run


def test_the_task_is_given_to_sky(launch, programs):
  programs.add('sky', 'cp "${!#}" "$STAND_IN/task"\n')
  launch('skypilot.py', *OPTIONS, *TRAIN)
  (call,) = programs.calls
  assert call.startswith('sky jobs launch --yes /')
  task = yaml.safe_load((programs.folder / 'task').read_text())
  assert task['name'] == 'big'


@pytest.mark.parametrize(
  ('changed', 'options', 'stated'),
  [
    ('', [], '0123abcd'),
    (' M file', [], '0123abcd-dirty'),
    ('', ['--env=PHENAKI_COMMIT=4567'], '4567'),
  ],
)
def test_the_commit_is_stated(launch, programs, changed, options, stated):
  programs.add(
    'git', f"case $1 in rev-parse) echo 0123abcd ;; *) echo '{changed}' ;; esac"
  )
  done = launch('skypilot.py', *OPTIONS, *options, '--dry-run', *TRAIN)
  envs = yaml.safe_load(document(done.stdout))['envs']
  assert envs['PHENAKI_COMMIT'] == stated


def test_without_a_repository_no_commit_is_stated(launch, programs):
  programs.add('git', 'exit 128')
  done = launch('skypilot.py', *OPTIONS, '--dry-run', *TRAIN)
  assert 'PHENAKI_COMMIT' not in done.stdout


def test_slices_that_would_not_be_connected_are_refused(launch):
  done = launch('skypilot.py', *OPTIONS, '--slices=2', *TRAIN, code=2)
  assert 'use launch/tpu_vm.py or launch/jobset.py' in done.stderr
