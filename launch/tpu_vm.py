#!/usr/bin/env python3
"""Run a job on TPU VMs, which a queued resource of Google Cloud provides.

    python launch/tpu_vm.py --name big --zone us-east5-a \\
      --accelerator v5p-128 --spot --bucket gs://BUCKET/jobs -- \\
      train --config FILE --workdir gs://BUCKET/runs/big

Sends the committed code to the bucket, creates the queued resource, and waits.
After SUSPENDED (preempted) or FAILED it is deleted and created again under the
same name, where the job resumes. When the job is done, the resource is deleted
and the exit code of the job returned. The launcher may be stopped: the same
command follows the same job again. --action logs and --action delete do what
they say.
"""

import argparse
import pathlib
import re
import shlex
import sys
import tempfile
import time

import job
from supervisor import Retries, workdir

_HOST = pathlib.Path(__file__).with_name('tpu_host.sh')
# These never become ACTIVE again.
_LOST = ('SUSPENDED', 'FAILED')


def main() -> int:
  """Create, follow, show or delete the job."""
  parser = job.parser(
    *(__doc__, 'name', 'accelerator', 'runtime-version', 'slices', 'spot'),
    *('service-account', 'action'),
  )
  for option, text in (
    ('zone', 'of the TPUs'),
    ('bucket', 'gs:// folder of the code, the logs and the exit code'),
  ):
    parser.add_argument(f'--{option}', required=True, help=text)
  parser.add_argument('--project', help="(default: gcloud's)")
  parser.add_argument('--reserved', action='store_true', help='reserved TPUs')
  parser.add_argument(
    '--poll', type=float, default=60.0, metavar='SECONDS', help='between looks'
  )
  args = job.parse(parser)
  if not args.bucket.startswith('gs://'):
    parser.error(f'--bucket is {args.bucket}, but must start with gs://')
  resource = QueuedResource(args)
  if args.action == 'logs':
    resource.logs()
    return job.DONE
  if args.action == 'delete':
    resource.delete()
    return job.DONE
  print(f'# {args.accelerator.describe(args.slices)}', flush=True)
  commit = _commit(is_required=not args.dry_run)
  if args.dry_run:
    resource.create(commit)
    print(f'# Then, every {args.poll:g} seconds:')
    print(shlex.join(resource.describing))
    print('# After SUSPENDED or FAILED, before it is created again:')
    resource.delete()
    return job.DONE
  try:
    return follow(resource, commit, args)
  except KeyboardInterrupt:
    print('\nThe job goes on; the same command follows it.', file=sys.stderr)
    return 130


def follow(
  resource: 'QueuedResource', commit: str, args: argparse.Namespace
) -> int:
  """Keep the job running until it ends; return its exit code."""
  failures, silences = (
    Retries(args.retries, first_wait=args.poll) for _ in range(2)
  )
  shown, has_been, newest = None, False, resource.newest_checkpoint()

  def may_retry(reason: str) -> bool:
    """Wait after a failure; a new checkpoint since the last one is progress."""
    nonlocal newest
    before, newest = newest, max(newest, resource.newest_checkpoint())
    if newest > before:
      failures.reset()
    return failures.wait(reason)

  while True:
    state = resource.state()
    if state != shown:
      print(f'{args.name}: {state}', flush=True)
      shown = state
    code = None
    # A job may have ended while nobody looked, before its TPUs were lost.
    if state in ('ACTIVE', *_LOST):
      has_been = True
      try:
        code = resource.exit_code()
      except OSError as error:
        state = f'unknown, as is its exit code: {error}'
    if state.startswith('unknown'):
      # At first the options are probably wrong; later it is the cloud.
      if not has_been or not silences.wait(f'It is {state}'):
        return 1
      continue
    silences.reset()
    if code is not None:
      resource.delete()
      return code
    if state not in (*_LOST, 'absent'):
      has_been = True
      time.sleep(args.poll)
      continue
    if state == 'FAILED' and not may_retry(f'It is {state}'):
      return 1
    try:
      if state in _LOST:
        resource.delete()
      resource.create(commit)
      has_been = True
    except SystemExit as error:
      reason = f'gcloud ended with code {error.code}'
      if not has_been or not may_retry(reason):
        raise


class QueuedResource:
  """A queued resource and the place of its job in the bucket."""

  def __init__(self, args: argparse.Namespace) -> None:
    """Set the options; nothing is run yet."""
    self._args = args
    self._place = f'{args.bucket.rstrip("/")}/{args.name}'
    where = [f'--zone={args.zone}']
    if args.project:
      where.append(f'--project={args.project}')
    self._where = where
    tpus = ['gcloud', 'compute', 'tpus']
    self._queued = [*tpus, 'queued-resources']
    self._ssh = [*tpus, 'tpu-vm', 'ssh']
    self.describing = [
      *(*self._queued, 'describe', args.name, '--format=value(state.state)'),
      *where,
    ]

  def state(self) -> str:
    """Return its state, 'absent', or 'unknown' if gcloud does not say."""
    done = job.output(self.describing)
    if done.returncode == 0:
      return done.stdout.strip()
    if 'NOT_FOUND' in done.stderr:
      return 'absent'
    print(done.stderr.strip(), file=sys.stderr)
    return 'unknown'

  def create(self, commit: str) -> None:
    """Send the code and create the resource."""
    args, dry_run = self._args, self._args.dry_run
    storage = ['gcloud', 'storage']
    with tempfile.TemporaryDirectory() as folder:
      tar = 'code.tar.gz' if dry_run else f'{folder}/code.tar.gz'
      archive = ['git', 'archive', '--format=tar.gz', f'--output={tar}', commit]
      job.call(archive, dry_run=dry_run)
      job.call([*storage, 'cp', tar, f'{self._place}/'], dry_run=dry_run)
    # Over that of an earlier resource, which must not count for this one. Other
    # than removing it, this fails only if it has no effect.
    job.call(
      [*storage, 'cp', '{file}', f'{self._place}/exit_code'],
      dry_run=dry_run,
      file=('exit_code', ''),
    )
    nodes = [f'--node-id={args.name}']
    if args.slices > 1:
      nodes = [f'--node-count={args.slices}', f'--node-prefix={args.name}']
    options = [
      f'--accelerator-type={args.accelerator.name}',
      f'--runtime-version={args.runtime_version}',
      *nodes,
      '--metadata-from-file=startup-script={file}',
      *(['--spot'] if args.spot else []),
      *(['--reserved'] if args.reserved else []),
    ]
    if args.service_account:
      options.append(f'--service-account={args.service_account}')
    job.call(
      [*self._queued, 'create', args.name, *options, *self._where],
      dry_run=dry_run,
      file=('startup.sh', self._startup_script(commit)),
    )

  def delete(self) -> None:
    """Delete it and its machines, and wait until they are gone."""
    command = [*self._queued, 'delete', self._args.name, '--force', '--quiet']
    job.call([*command, *self._where], dry_run=self._args.dry_run)

  def exit_code(self) -> int | None:
    """Return the exit code that the first host left, or None.

    Raises:
      OSError: if it cannot be read; `create` has left an empty one.
    """
    done = job.output(['gcloud', 'storage', 'cat', f'{self._place}/exit_code'])
    if done.returncode:
      raise OSError(done.stderr.strip())
    return int(done.stdout) if done.stdout.strip() else None

  def newest_checkpoint(self) -> int:
    """Return the last step that is saved in the job's --workdir, or -1.

    Asks gcloud, because only the hosts need a Python library for buckets. A
    folder that cannot be read shows no progress.
    """
    place = workdir(self._args.command)
    if place is None:
      return -1
    pattern = f'{place.rstrip("/")}/checkpoints/*/manifest.json'
    found = job.output(['gcloud', 'storage', 'ls', pattern]).stdout
    steps = re.findall(r'/checkpoints/(\d+)/manifest\.json\b', found)
    return max(map(int, steps), default=-1)

  def logs(self) -> None:
    """Show the log of the first host of each slice."""
    name = self._args.name
    nodes = [name]
    if self._args.slices > 1:
      nodes = [f'{name}-{index}' for index in range(self._args.slices)]
    tail = f'tail -n 100 {_folder(name)}/job.log'
    for node in nodes:
      command = [*self._ssh, node, '--worker=0', f'--command={tail}']
      job.call([*command, *self._where], dry_run=self._args.dry_run)

  def _startup_script(self, commit: str) -> str:
    args = self._args
    values = {
      'PLACE': self._place,
      'FOLDER': _folder(args.name),
      'RETRIES': str(args.retries),
    }
    lines = [f'{name}={shlex.quote(value)}' for name, value in values.items()]
    lines.append(job.exports({'PHENAKI_COMMIT': commit, **args.env}).rstrip())
    lines.append(shlex.join(['set', '--', *args.command]))
    return '\n'.join(['#!/bin/bash', *lines, _HOST.read_text()])


def _folder(name: str) -> str:
  return f'/opt/phenaki/{name}'


def _commit(*, is_required: bool) -> str:
  """Return the commit that is sent.

  Raises:
    SystemExit: if there is none, or changes that are not committed.
  """
  found = job.commit()
  if found is None:
    raise SystemExit(
      'Only commits are sent, and git finds none in the current folder; start '
      'the launcher in the repository of phenaki_jax.'
    )
  if is_required and found.endswith('-dirty'):
    raise SystemExit(
      'There are changes that are not committed, and only commits are sent; '
      'commit or stash them.'
    )
  return found.removesuffix('-dirty')


if __name__ == '__main__':
  sys.exit(main())
