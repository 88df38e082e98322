"""Damage checkpoints, and see whether anything wrong is restored.

    python benchmarks/faults/damage.py [--flips 500]

A run of 8 devices has two checkpoints. Each case damages the newer one and
restores on 8, 4 and 1 devices in turn. `repaired` counts restores of the older
checkpoint, bit for bit; `unharmed` those of the newer one, bit for bit, because
nothing depends on the damaged byte; `wrong` everything else.
"""

import argparse
import collections
import logging
import os
import pathlib
import shutil
import sys
import tempfile

import jax
import numpy as np

from phenaki_jax import sharding
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState

MESHES = (
  (sharding.MeshConfig(data=2, fsdp=2, tensor=2), 8),
  (sharding.MeshConfig(data=1, fsdp=4), 4),
  (sharding.MeshConfig(), 1),
)


def make_state(step: int, mesh: jax.sharding.Mesh) -> TrainState:
  """Return a state of 1.2 MB that is different at every step."""
  rng = np.random.default_rng(step)

  def tree() -> dict[str, jax.Array]:
    shapes = {'kernel': (128, 512), 'out': (512, 64), 'bias': (512,)}
    names = {'kernel': ('embed', 'mlp'), 'out': ('mlp', None), 'bias': (None,)}
    return {
      name: jax.device_put(
        rng.normal(size=shape).astype(np.float32),
        jax.NamedSharding(mesh, sharding.resolve(names[name])),
      )
      for name, shape in shapes.items()
    }

  place = jax.NamedSharding(mesh, jax.P())
  count = jax.device_put(np.int32(step), place)
  return TrainState(
    step=count, params=tree(), ema=tree(), opt_state=[{'n': count}, tree()]
  )


class Case:
  """Two checkpoints, of which the newer is damaged and then put back."""

  def __init__(self, folder: pathlib.Path) -> None:
    """Save both."""
    self._folder = folder
    self.newer = folder / 'checkpoints' / '2'
    self.older = folder / 'checkpoints' / '1'
    self._meshes = [
      sharding.make_mesh(config, devices=jax.devices()[:devices])
      for config, devices in MESHES
    ]
    checkpoints = self._open()
    for step in (1, 2):
      checkpoints.save(step, make_state(step, self._meshes[0]), {})
    checkpoints.close()
    self._clean = folder / 'clean'
    shutil.copytree(self.newer, self._clean)
    self._abstract = [
      jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        make_state(0, mesh),
      )
      for mesh in self._meshes
    ]
    self._values = {
      step: jax.device_get(make_state(step, self._meshes[0])) for step in (1, 2)
    }
    self._turn = 0

  def files(self) -> list[pathlib.Path]:
    """Return the files of the newer checkpoint that are not empty."""
    found = sorted(p for p in self._clean.rglob('*') if p.is_file())
    return [p.relative_to(self._clean) for p in found if p.stat().st_size]

  def outcome(self) -> str:
    """Restore, say what was restored, and undo the damage."""
    self._turn += 1
    checkpoints = self._open()
    try:
      restored = checkpoints.restore(self._abstract[self._turn % len(MESHES)])
    except Exception as error:
      print(f'{type(error).__name__}: {str(error)[:200]}')
      result = 'wrong'
    else:
      result = self._judged(restored)
    finally:
      checkpoints.close()
    aside = self._folder / 'checkpoints-damaged'
    for place in (self.newer, aside):
      shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(self._clean, self.newer)
    return result

  def _judged(self, restored) -> str:
    if restored is None:
      return 'wrong'
    equal = jax.tree.map(
      np.array_equal,
      jax.device_get(restored.state),
      self._values[restored.step],
    )
    if not all(jax.tree.leaves(equal)):
      return 'wrong'
    return 'repaired' if restored.step == 1 else 'unharmed'

  def _open(self) -> Checkpoints:
    return Checkpoints(self._folder, keep=9, config={'kind': 'x'}, identity={})


def flip(path: pathlib.Path, bit: int) -> None:
  """Flip a bit of a file."""
  with path.open('r+b') as file:
    file.seek(bit // 8)
    byte = file.read(1)[0]
    file.seek(bit // 8)
    file.write(bytes([byte ^ 1 << bit % 8]))


def main() -> int:
  """Print a row for each kind of damage; return 1 if anything is wrong."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--flips', type=int, default=500)
  args = parser.parse_args()
  jax.config.update('jax_num_cpu_devices', 8)
  logging.getLogger('phenaki_jax').setLevel(logging.ERROR)
  logging.getLogger('absl').setLevel(logging.FATAL)
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as name:
    case = Case(pathlib.Path(name))
    files = case.files()
    sizes = np.array([(case.newer / file).stat().st_size for file in files])
    print(f'{len(files)} files, {sizes.sum():,} bytes')
    print(f'{"damage":<38} {"cases":>5} {"repaired":>8} {"unharmed":>8} wrong')

    def row(name: str, cases) -> int:
      found: collections.Counter = collections.Counter()
      for damage in cases:
        damage()
        found[case.outcome()] += 1
      print(
        f'{name:<38} {sum(found.values()):>5} {found["repaired"]:>8} '
        f'{found["unharmed"]:>8} {found["wrong"]:>5}',
        flush=True,
      )
      return found['wrong']

    def flips(chances, count):
      for _ in range(count):
        index = rng.choice(len(files), p=chances)
        bit = int(rng.integers(8 * sizes[index]))
        yield lambda i=index, b=bit: flip(case.newer / files[i], b)

    def each(change):
      for file in files:
        yield lambda f=file: change(case.newer / f)

    def cut(path):
      os.truncate(path, path.stat().st_size // 2)

    def other(path):
      # Files of arrays have random names; they get the content of another.
      source = case.older / path.relative_to(case.newer)
      shutil.copy(source if source.exists() else case.newer / files[0], path)

    few = max(1, args.flips // 5)
    even = np.full(len(files), 1 / len(files))
    wrong = row(
      'a bit flipped, any byte', flips(sizes / sizes.sum(), args.flips)
    )
    wrong += row('a bit flipped, any file', flips(even, few))
    wrong += row('each file deleted', each(lambda p: p.unlink()))
    wrong += row('each file cut in half', each(cut))
    wrong += row(
      'each file zeroed', each(lambda p: p.write_bytes(bytes(p.stat().st_size)))
    )
    wrong += row('each file of the other step', each(other))
  return int(wrong > 0)


if __name__ == '__main__':
  sys.exit(main())
