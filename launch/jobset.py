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
import pathlib
import shlex
import sys
from typing import Any

import job
import yaml

_TEMPLATE = pathlib.Path(__file__).with_name('jobset.yaml')


def main() -> int:
  """Apply the manifest, or print it."""
  parser = job.parser(
    *(__doc__, 'name', 'accelerator', 'slices', 'spot', 'service-account'),
    'action',
  )
  for option, text in (
    ('namespace', 'of the job (default: default)'),
    ('queue', 'LocalQueue of Kueue'),
    ('xpk', 'print the command of xpk for this cluster instead'),
  ):
    parser.add_argument(f'--{option}', metavar='NAME', help=text)
  parser.set_defaults(namespace='default')
  parser.add_argument('--image', required=True, help='container image')
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
    done = job.output(state)
    if done.returncode:
      print(done.stderr.strip(), file=sys.stderr)
      return done.returncode
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
  """Return the JobSet: jobset.yaml with the values of this job."""
  tpu = args.accelerator
  result = yaml.safe_load(_TEMPLATE.read_text())
  result['metadata']['name'] = args.name
  if args.queue:
    result['metadata']['labels'] = {'kueue.x-k8s.io/queue-name': args.queue}
  result['spec']['failurePolicy']['maxRestarts'] = args.retries
  (slices,) = result['spec']['replicatedJobs']
  slices['replicas'] = args.slices
  hosts = slices['template']['spec']
  hosts['parallelism'] = hosts['completions'] = tpu.hosts
  pod = hosts['template']['spec']
  if args.service_account:
    pod['serviceAccountName'] = args.service_account
  pod['nodeSelector'] = {
    'cloud.google.com/gke-tpu-accelerator': tpu.generation.label,
    'cloud.google.com/gke-tpu-topology': tpu.topology,
    **({'cloud.google.com/gke-spot': 'true'} if args.spot else {}),
  }
  (container,) = pod['containers']
  container['image'] = args.image
  container['command'] = job.phenaki(args)
  container['env'] = [{'name': n, 'value': v} for n, v in args.env.items()]
  # The request is the same where only the limit is given.
  container['resources'] = {
    'limits': {'google.com/tpu': tpu.chips // tpu.hosts}
  }
  return result


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
