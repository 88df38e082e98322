#!/usr/bin/env python3
"""Run a job on the TPUs of a GKE cluster, as a JobSet.

    python launch/jobset.py --name big --accelerator v5p-128 --slices 2 \\
      --image REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG -- \\
      train --config FILE --workdir gs://BUCKET/runs/big

The image holds phenaki_jax with the extra `tpu`, and gcsfs. The JobSet starts
all pods again after exit code 75 and after a node was taken away, without
limit, and --retries times after any other failure. The same command after the
end goes on with the job. --xpk CLUSTER prints the command for a cluster that
xpk made.
"""

import argparse
import shlex
import subprocess
import sys
from typing import Any

import job
import yaml

# Seconds that a pod has to save after SIGTERM.
_GRACE = 300


def main() -> int:
  """Apply the manifest, or print it."""
  parser = job.parser(__doc__)
  job.add_name(parser)
  job.add_slices(parser)
  parser.add_argument('--image', required=True, help='container image')
  parser.add_argument('--namespace', default='default')
  parser.add_argument('--queue', help='LocalQueue of Kueue')
  parser.add_argument('--service-account', metavar='NAME', help='of the pods')
  parser.add_argument('--spot', action='store_true', help='on spot nodes')
  parser.add_argument(
    '--xpk', metavar='CLUSTER', help='print the command of xpk instead'
  )
  job.add_action(parser)
  args = job.parse(parser)
  if args.slices > 1 and args.accelerator.hosts == 1:
    parser.error(
      f'--slices is {args.slices}, but {args.accelerator.name} has one host; '
      'GKE connects slices of several hosts only'
    )
  if args.xpk:
    print(shlex.join(xpk(args)))
    return job.DONE
  kubectl = ['kubectl', f'--namespace={args.namespace}']
  if args.action == 'logs':
    pods = f'--selector=jobset.sigs.k8s.io/jobset-name={args.name}'
    options = ['--tail=100', '--prefix', '--max-log-requests=1000']
    job.call([*kubectl, 'logs', pods, *options], dry_run=args.dry_run)
    return job.DONE
  delete = [*kubectl, 'delete', 'jobset', args.name, '--ignore-not-found']
  if args.action == 'delete':
    job.call(delete, dry_run=args.dry_run)
    return job.DONE
  print(f'# {args.accelerator.describe(args.slices)}', flush=True)
  if not args.dry_run:
    state = [*kubectl, 'get', 'jobset', args.name, '--ignore-not-found']
    state += ['--output=jsonpath={.status.terminalState}']
    done = subprocess.run(state, capture_output=True, text=True)
    if done.stdout.strip():  # Completed or Failed: it does not start again.
      job.call(delete, dry_run=False)
  text = yaml.safe_dump(manifest(args), sort_keys=False)
  job.call(
    [*kubectl, 'apply', '--filename={file}'],
    dry_run=args.dry_run,
    file=(f'{args.name}.yaml', text),
  )
  return job.DONE


def manifest(args: argparse.Namespace) -> dict[str, Any]:
  """Return the JobSet: one job per slice, one pod per host."""
  tpu = args.accelerator
  chips = {'google.com/tpu': tpu.chips // tpu.hosts}
  labels = {'kueue.x-k8s.io/queue-name': args.queue} if args.queue else {}
  nodes = {
    'cloud.google.com/gke-tpu-accelerator': tpu.generation.label,
    'cloud.google.com/gke-tpu-topology': tpu.topology,
    **({'cloud.google.com/gke-spot': 'true'} if args.spot else {}),
  }
  pod = {
    'restartPolicy': 'Never',
    'terminationGracePeriodSeconds': _GRACE,
    'hostNetwork': True,
    'dnsPolicy': 'ClusterFirstWithHostNet',
    'nodeSelector': nodes,
    **(
      {'serviceAccountName': args.service_account}
      if args.service_account
      else {}
    ),
    'containers': [
      {
        'name': 'phenaki',
        'image': args.image,
        'command': job.phenaki(args),
        'env': [{'name': n, 'value': v} for n, v in args.env.items()],
        # 8471 for libtpu, 8482 for JAX, 8080 for several slices.
        'ports': [{'containerPort': port} for port in (8471, 8482, 8080)],
        'resources': {'limits': chips, 'requests': {**chips}},
      }
    ],
  }
  # Both rules give the failed job the reason that the JobSet's rule names.
  preempted = [
    {
      'action': 'FailJob',
      'onExitCodes': {
        'containerName': 'phenaki',
        'operator': 'In',
        'values': [job.PREEMPTED],
      },
    },
    {
      'action': 'FailJob',
      'onPodConditions': [{'type': 'DisruptionTarget', 'status': 'True'}],
    },
  ]
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': {
      'name': args.name,
      'labels': labels,
      # Each slice has a node pool of its own.
      'annotations': {
        'alpha.jobset.sigs.k8s.io/exclusive-topology': (
          'cloud.google.com/gke-nodepool'
        )
      },
    },
    'spec': {
      'failurePolicy': {
        'maxRestarts': args.retries,
        'rules': [
          {
            'name': 'preempted',
            'action': 'RestartJobSetAndIgnoreMaxRestarts',
            'onJobFailureReasons': ['PodFailurePolicy'],
          }
        ],
      },
      'replicatedJobs': [
        {
          'name': 'slice',
          'replicas': args.slices,
          'template': {
            'spec': {
              'parallelism': tpu.hosts,
              'completions': tpu.hosts,
              'completionMode': 'Indexed',
              'backoffLimit': 0,
              'podFailurePolicy': {'rules': preempted},
              'template': {'spec': pod},
            }
          },
        }
      ],
    },
  }


def xpk(args: argparse.Namespace) -> list[str]:
  """Return the command that starts the job with xpk."""
  return [
    *('xpk', 'workload', 'create', f'--cluster={args.xpk}'),
    *(f'--workload={args.name}', f'--tpu-type={args.accelerator.name}'),
    *(f'--num-slices={args.slices}', f'--docker-image={args.image}'),
    f'--max-restarts={args.retries}',
    f'--restart-on-exit-codes={job.PREEMPTED}',
    *(f'--env={name}={value}' for name, value in args.env.items()),
    f'--command={shlex.join(job.phenaki(args))}',
  ]


if __name__ == '__main__':
  sys.exit(main())
