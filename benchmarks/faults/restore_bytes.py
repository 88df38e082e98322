"""Count the bytes that each of several processes reads to resume.

    python benchmarks/faults/restore_bytes.py [--layers 2] [--processes 4]

One process saves a state like that of `save_pause.py`. Several processes on
this machine resume from it, with every parameter sharded over all of them, and
save it; one process resumes from that. `read` counts what the process read from
files (/proc/self/io, Linux), less what it reads when it starts.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile

LIMIT = 600  # seconds


def work(folder: str, args: argparse.Namespace) -> None:
  """Resume from the newest checkpoint, if there is one; save another."""
  import jax
  import jax.numpy as jnp
  from save_pause import make_state

  from phenaki_jax import sharding
  from phenaki_jax.files import digests
  from phenaki_jax.training import checkpoint_files, checkpoint_sums
  from phenaki_jax.training.checkpoints import Checkpoints

  if args.processes > 1:
    jax.distributed.initialize(args.address, args.processes, args.index)
  hashed = 0

  def counted(call):
    def wrapper(array, **kwargs):
      nonlocal hashed
      hashed += array.nbytes
      return call(array, **kwargs)

    return wrapper

  for module in (checkpoint_sums, checkpoint_files, digests):
    for name in ('sum_block', 'digest_array'):
      if hasattr(module, name):
        setattr(module, name, counted(getattr(module, name)))
  config = sharding.MeshConfig(data=1, fsdp=args.processes)
  mesh = sharding.make_mesh(config)

  def place(leaf):
    # The width is the last dimension that all processes divide.
    spec = [None] * leaf.ndim
    if leaf.ndim > 1:
      spec[-1] = 'fsdp'
    return jax.NamedSharding(mesh, jax.P(*spec))

  shapes = jax.eval_shape(lambda: make_state(args.layers))
  places = jax.tree.map(place, shapes)
  abstract = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    places,
  )
  checkpoints = Checkpoints(folder, keep=2, config={}, identity={})
  before = _read_bytes()
  restored = checkpoints.restore(abstract)
  read = _read_bytes() - before
  if restored is None:
    step = 0
    state = jax.jit(lambda: make_state(args.layers), out_shardings=places)()
  else:
    step, state = restored.step, restored.state
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
    print(
      f'{args.processes:>9} {args.index:>7} {size / 1e6:>9.1f} '
      f'{read / 1e6:>8.1f} {read / size:>6.0%} '
      f'{hashed / 1e6:>10.1f} {hashed / size:>6.0%}\n',
      end='',
      flush=True,
    )
  state = state.replace(step=jnp.asarray(step, jnp.int32))
  checkpoints.save(step + 1, state, {})
  checkpoints.close()


def _read_bytes() -> int:
  with open('/proc/self/io') as file:
    return int(dict(line.split(': ') for line in file)['rchar'])


def main() -> int:
  """Run the three starts; return 1 if a process fails."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--layers', type=int, default=2)
  parser.add_argument('--processes', type=int, default=4)
  parser.add_argument('--folder', help=argparse.SUPPRESS)
  parser.add_argument('--index', type=int, default=0, help=argparse.SUPPRESS)
  parser.add_argument('--address', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.folder:
    work(args.folder, args)
    return 0
  print(
    f'{"processes":>9} {"process":>7} {"state MB":>9} {"read MB":>8} '
    f'{"share":>6} {"summed MB":>10} {"share":>6}',
    flush=True,
  )
  with tempfile.TemporaryDirectory() as folder:
    for count in (1, args.processes, 1):
      with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
      command = [sys.executable, __file__, f'--layers={args.layers}']
      command += [f'--folder={folder}', f'--address=127.0.0.1:{port}']
      command += [f'--processes={count}']
      children = [
        subprocess.Popen(
          [*command, f'--index={index}'],
          env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
          stderr=subprocess.PIPE,
          text=True,
        )
        for index in range(count)
      ]
      said = [child.communicate(timeout=LIMIT)[1] for child in children]
      for child, text in zip(children, said, strict=True):
        if child.returncode:
          print(text, file=sys.stderr)
          return 1
  return 0


if __name__ == '__main__':
  sys.exit(main())
