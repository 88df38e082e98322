"""The manifest of a JobSet, checked against the schemas that are published.

That of JobSet is a copy, by hand, of the part of its custom resource
definition (v1alpha2) that is used here; the job in it is checked against the
schemas of Kubernetes.
"""

import jsonschema
import kubernetes_validate
import pytest
import yaml
from stand_ins import document

OPTIONS = [
  *('--name=big', '--accelerator=v5p-128', '--slices=2', '--image=i:1'),
  *('--retries=3', '--env=LIBTPU_INIT_ARGS=--a=b --c'),
]
TRAIN = ['--', 'train', '--config', 'a b.py']

TEXT, COUNT = {'type': 'string'}, {'type': 'integer', 'minimum': 0}
TEXTS = {'type': 'object', 'additionalProperties': TEXT}


def _object(*required, **properties):
  return {
    'type': 'object',
    'additionalProperties': False,
    'required': list(required),
    'properties': properties,
  }


RULE = _object(
  'action',
  'name',
  name={
    'type': 'string',
    'pattern': '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
  },
  action={
    'enum': ['FailJobSet', 'RestartJobSet', 'RestartJobSetAndIgnoreMaxRestarts']
  },
  onJobFailureReasons={
    'type': 'array',
    'items': {
      'enum': [
        *('BackoffLimitExceeded', 'DeadlineExceeded', 'FailedIndexes'),
        *('MaxFailedIndexesExceeded', 'PodFailurePolicy'),
      ]
    },
  },
  targetReplicatedJobs={'type': 'array', 'items': TEXT},
)
REPLICATED_JOB = _object(
  'name', 'template', name=TEXT, replicas=COUNT, template={'type': 'object'}
)
JOB_SET = _object(
  'apiVersion',
  'kind',
  'metadata',
  'spec',
  apiVersion={'const': 'jobset.x-k8s.io/v1alpha2'},
  kind={'const': 'JobSet'},
  metadata=_object(name=TEXT, labels=TEXTS, annotations=TEXTS),
  spec=_object(
    failurePolicy=_object(
      maxRestarts=COUNT,
      restartStrategy={'enum': ['Recreate', 'BlockingRecreate']},
      rules={'type': 'array', 'items': RULE},
    ),
    replicatedJobs={'type': 'array', 'items': REPLICATED_JOB},
  ),
)


def _validate(manifest):
  jsonschema.validate(manifest, JOB_SET)
  (replicated,) = manifest['spec']['replicatedJobs']
  job = {
    'apiVersion': 'batch/v1',
    'kind': 'Job',
    'metadata': {'name': manifest['metadata']['name']},
    **replicated['template'],
  }
  kubernetes_validate.validate(job, '1.33', strict=True)


def _manifest(launch, *options):
  done = launch('jobset.py', *OPTIONS, *options, '--dry-run', *TRAIN)
  return yaml.safe_load(document(done.stdout))


@pytest.fixture
def manifest(launch):
  return _manifest(launch)


def test_manifest_matches_the_schemas(manifest, launch):
  _validate(manifest)
  options = ['--queue=q', '--service-account=a', '--spot']
  other = _manifest(launch, *options)
  _validate(other)
  assert other['metadata']['labels'] == {'kueue.x-k8s.io/queue-name': 'q'}
  pod = other['spec']['replicatedJobs'][0]['template']['spec']['template']
  assert pod['spec']['serviceAccountName'] == 'a'
  assert pod['spec']['nodeSelector']['cloud.google.com/gke-spot'] == 'true'


@pytest.mark.parametrize(
  ('path', 'value'),
  [
    ('spec.failurePolicy.maxRestart', 3),
    ('spec.failurePolicy.rules.0.action', 'Restart'),
    ('spec.replicatedJobs.0.template.spec.backofLimit', 0),
    ('spec.replicatedJobs.0.template.spec.template.spec.hostNetwork', 'yes'),
  ],
)
def test_the_schemas_refuse_a_typing_error(manifest, path, value):
  place, *_, last = [manifest, *path.split('.')]
  for name in path.split('.')[:-1]:
    place = place[int(name) if name.isdecimal() else name]
  place[last] = value
  refused = (jsonschema.ValidationError, kubernetes_validate.ValidationError)
  with pytest.raises(refused, match=last):
    _validate(manifest)


def test_there_is_a_job_per_slice_and_a_pod_per_host(manifest):
  (slices,) = manifest['spec']['replicatedJobs']
  job = slices['template']['spec']
  assert slices['replicas'] == 2
  assert job['parallelism'] == job['completions'] == 16
  pod = job['template']['spec']
  assert pod['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5p-slice',
    'cloud.google.com/gke-tpu-topology': '4x4x4',
  }
  (container,) = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  assert container['command'][1:] == ['-m', 'phenaki_jax', *TRAIN[1:]]
  assert {'name': 'PHENAKI_COORDINATOR', 'value': 'auto'} in container['env']
  assert {
    'name': 'LIBTPU_INIT_ARGS',
    'value': '--a=b --c',
  } in container['env']


def test_only_exit_code_75_and_lost_nodes_restart_without_limit(manifest):
  policy = manifest['spec']['failurePolicy']
  assert policy['maxRestarts'] == 3
  (rule,) = policy['rules']
  assert rule['action'] == 'RestartJobSetAndIgnoreMaxRestarts'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  job = manifest['spec']['replicatedJobs'][0]['template']['spec']
  # Any other failure exceeds the limit of 0, and counts.
  assert job['backoffLimit'] == 0
  code, lost = job['podFailurePolicy']['rules']
  assert code['onExitCodes']['values'] == [75]
  name = job['template']['spec']['containers'][0]['name']
  assert code['onExitCodes']['containerName'] == name
  assert lost['onPodConditions'][0]['type'] == 'DisruptionTarget'


KUBECTL = """
case "$*" in
  *' get '*) cat "$STAND_IN/state" ;;
  *apply*) all=$*; cp "${all##*--filename=}" "$STAND_IN/applied" ;;
esac
"""


@pytest.mark.parametrize('state', ['', 'Completed', 'Failed'])
def test_the_same_command_goes_on_after_the_end(
  launch, programs, manifest, state
):
  programs.add('kubectl', KUBECTL)
  (programs.folder / 'state').write_text(state)
  launch('jobset.py', *OPTIONS, *TRAIN)
  verbs = [call.split()[2] for call in programs.calls]
  assert verbs == ['get', *['delete'] * bool(state), 'apply']
  applied = yaml.safe_load((programs.folder / 'applied').read_text())
  assert applied == manifest


def test_logs_and_delete(launch, programs):
  programs.add('kubectl')
  launch('jobset.py', *OPTIONS, '--action=logs', '--namespace=n')
  launch('jobset.py', *OPTIONS, '--action=delete')
  assert programs.calls == [
    'kubectl --namespace=n logs --selector=jobset.sigs.k8s.io/jobset-name=big '
    '--tail=100 --prefix --max-log-requests=1000',
    'kubectl --namespace=default delete jobset big --ignore-not-found',
  ]


def test_a_failing_kubectl_is_a_failure(launch, programs):
  programs.add('kubectl', 'case "$*" in *apply*) exit 4 ;; esac')
  launch('jobset.py', *OPTIONS, *TRAIN, code=4)


def test_nothing_is_applied_where_the_state_is_unknown(launch, programs):
  programs.add('kubectl', 'echo "Unauthorized" >&2; exit 7')
  done = launch('jobset.py', *OPTIONS, *TRAIN, code=7)
  assert 'Unauthorized' in done.stderr
  assert [call.split()[2] for call in programs.calls] == ['get']


def test_slices_of_one_host_are_not_connected(launch):
  done = launch('jobset.py', *OPTIONS, '--accelerator=v5p-8', *TRAIN, code=2)
  assert 'v5p-8 has one host' in done.stderr


def test_the_command_of_xpk(launch):
  done = launch('jobset.py', *OPTIONS, '--xpk=c', *TRAIN)
  assert done.stdout == (
    'xpk workload create --cluster=c --workload=big --tpu-type=v5p-128 '
    '--num-slices=2 --docker-image=i:1 --max-restarts=3 '
    '--restart-on-exit-codes=75 --env=PHENAKI_COORDINATOR=auto '
    "'--env=LIBTPU_INIT_ARGS=--a=b --c' "
    "'--command=python3 -m phenaki_jax train --config '\"'\"'a b.py'\"'\"''\n"
  )
