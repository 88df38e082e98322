"""Kill a process before each change that a save makes to the file system.

    python benchmarks/faults/crash_points.py [--every 1]

A process restores checkpoint 1 and saves checkpoint 2; the n-th time that
Python is about to create, rename or delete a file or folder in the run
directory, or to open one for writing, it kills itself (SIGKILL). Another
process then resumes: it must get the state of step 1 or of step 2, whole, and
be able to save on. TensorStore writes the numbers in threads of its own
meanwhile, so that each kill also meets them at another place.
"""

import argparse
import collections
import os
import pathlib
import shutil
import signal
import sys
import tempfile

from children import Child

EVENTS = {'os.rename', 'os.mkdir', 'os.remove', 'os.rmdir', 'os.truncate'}


def is_change(event: str, arguments: tuple, folder: str) -> bool:
  """Return whether an audit event changes a file of a folder."""
  if event == 'open':
    path, mode, flags = arguments
    if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
      return False
    return folder in str(path)
  return event in EVENTS and folder in str(arguments[0])


def save(folder: pathlib.Path, die_at: int) -> int:
  """Restore step 1 and save step 2; die before the change of that number."""
  checkpoints, state = opened(folder)
  restored = checkpoints.restore(state(0))
  assert restored is not None and restored.step == 1
  count = 0

  def watch(event: str, arguments: tuple) -> None:
    nonlocal count
    if is_change(event, arguments, str(folder)):
      count += 1
      if count == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

  sys.addaudithook(watch)
  checkpoints.save(2, state(2), {})
  checkpoints.close()
  (folder / 'changes').write_text(str(count))
  return 0


def check(folder: pathlib.Path) -> int:
  """Resume; return 10 plus the step, if its state is whole."""
  import jax
  import numpy as np

  checkpoints, state = opened(folder)
  restored = checkpoints.restore(state(0))
  if restored is None:
    return 10
  jax.tree.map(
    np.testing.assert_array_equal, restored.state, state(restored.step)
  )
  checkpoints.save(3, state(3), {})
  checkpoints.close()
  assert [p.name for p in (folder / 'checkpoints').glob('*tmp*')] == []
  return 10 + restored.step


def opened(folder: pathlib.Path):
  """Return the checkpoints of a run, and a function that makes its states."""
  import jax
  import numpy as np

  from phenaki_jax import sharding
  from phenaki_jax.training.checkpoints import Checkpoints
  from phenaki_jax.training.state import TrainState

  mesh = sharding.make_mesh(sharding.MeshConfig(), devices=jax.devices()[:1])
  place = jax.NamedSharding(mesh, jax.P())

  def state(step: int) -> TrainState:
    w = np.random.default_rng(step).normal(size=(64, 64)).astype(np.float32)
    tree = {'w': w}
    return jax.device_put(
      TrainState(
        step=np.int32(step), params=tree, ema=tree, opt_state={'mu': w}
      ),
      place,
    )

  checkpoints = Checkpoints(folder, keep=1, config={}, identity={})
  return checkpoints, state


def begin(folder: pathlib.Path) -> int:
  """Save step 1."""
  checkpoints, state = opened(folder)
  checkpoints.save(1, state(1), {})
  checkpoints.close()
  return 0


def main() -> int:
  """Print what was resumed; return 1 if a crash lost both checkpoints."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument(
    '--every', type=int, default=1, help='try every n-th change only'
  )
  args = parser.parse_args()
  found: collections.Counter = collections.Counter()
  with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    log, clean = root / 'log', root / 'clean'

    def run(call, folder, *more) -> int | None:
      return Child.start(lambda: call(folder, *more), log).wait()

    def fresh() -> pathlib.Path:
      folder = root / 'run'
      shutil.rmtree(folder, ignore_errors=True)
      shutil.copytree(clean, folder)
      return folder

    if run(begin, clean) or run(save, fresh(), 0):
      print(log.read_text())
      return 1
    changes = int((root / 'run' / 'changes').read_text())
    print(f'{changes} changes to the file system in a save', flush=True)
    for number in range(1, changes + 1, args.every):
      folder = fresh()
      code = run(save, folder, number)
      result = run(check, folder)
      # The order of Orbax's threads differs: the last ones may not come.
      died = 'killed' if code == -signal.SIGKILL else f'ended with {code}'
      outcome = {11: 'last step', 12: 'new step'}.get(result, 'LOST')
      found[died, outcome] += 1
      if outcome == 'LOST' or code not in (0, -signal.SIGKILL):
        print(f'change {number}: {died}, then {result}')
        print(log.read_text()[-3000:])
        found['', 'LOST'] += 1
  print(f'{"process":<14} {"resumed from":<13} {"cases":>5}')
  for (died, outcome), count in sorted(found.items()):
    print(f'{died:<14} {outcome:<13} {count:>5}')
  return int(found['', 'LOST'] > 0)


if __name__ == '__main__':
  sys.exit(main())
