"""Check a machine before a run: versions, devices, disk and permissions."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator

import jax
from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import is_remote
from phenaki_jax.runs.compilation_cache import check_compilation_cache
from phenaki_jax.runs.train import huge_pages_missing

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain')
# What some commands need, beside the dependencies: module, extra, what for.
_OPTIONAL = (
  ('libtpu', 'tpu', 'to run on TPUs, and for `phenaki compile`'),
  ('onnx', 'eval', 'for the perceptual network open_nsfw'),
  ('seqio', 'tf', 'for `phenaki encode --text --seqio-task`'),
  ('nbclient', 'notebooks', 'to run the notebooks'),
)
_ENOUGH_DISK = 10 * 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
  """A fact about the machine.

  Attributes:
    name: what was checked.
    found: what was found.
    advice: what to do about it; empty if nothing need be done.
    is_problem: whether runs fail, or lose their results, without it.
  """

  name: str
  found: str
  advice: str = ''
  is_problem: bool = False


def examine(workdir: epath.PathLike) -> Iterator[Check]:
  """Yield all checks; those that take long come last.

  Args:
    workdir: folder of the runs; it need not exist, and nothing stays there.
  """
  yield Check(
    name='python', found=f'{platform.python_version()} at {sys.prefix}'
  )
  versions = [
    f'{name} {importlib.metadata.version(name)}' for name in _PACKAGES
  ]
  yield Check(name='packages', found=', '.join(versions))
  for module, extra, purpose in _OPTIONAL:
    there = importlib.util.find_spec(module) is not None
    yield Check(
      name=module,
      found='installed' if there else 'not installed',
      advice=''
      if there
      else f'pip install "phenaki-jax[{extra}]", only {purpose}',
    )
  yield from _folder(workdir)
  yield _cache()
  yield _devices()
  if huge_pages_missing():
    yield Check(
      name='huge pages',
      found='off',
      advice='start with GLIBC_TUNABLES=glibc.malloc.hugetlb=1, which saves '
      'about a quarter of each training step on a CPU',
    )


def _folder(workdir: epath.PathLike) -> Iterator[Check]:
  """Check that runs can be written to a folder, and how much of them."""
  name = f'folder {workdir}'
  if is_remote(workdir):
    yield Check(name=name, found='remote; it is not checked')
    return
  folder = os.path.abspath(os.path.expanduser(workdir))
  # A run creates the folders that are missing.
  while not os.path.isdir(folder):
    if os.path.exists(folder):
      yield Check(
        name=name,
        found=f'{folder} is a file',
        advice='name a folder',
        is_problem=True,
      )
      return
    folder = os.path.dirname(folder)
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(b'1')
      file.flush()
      os.fsync(file.fileno())
  except OSError as error:
    yield Check(
      name=name,
      found=f'{folder} cannot be written ({error.strerror})',
      advice='change its permissions, free space, or name another --workdir',
      is_problem=True,
    )
    return
  free = shutil.disk_usage(folder).free
  is_low = free < _ENOUGH_DISK
  yield Check(
    name=name,
    found=f'writable, {free / 2**30:.1f} GiB free',
    advice='free some space: a checkpoint takes 16 bytes per parameter, and '
    'two are kept'
    if is_low
    else '',
  )


def _cache() -> Check:
  """Check the persistent cache of compiled programs, if there is one."""
  name = 'compile cache'
  try:
    place = check_compilation_cache()
  except UserError as error:
    return Check(
      name=name,
      found='not private: phenaki train refuses it',
      advice=str(error),
      is_problem=True,
    )
  return Check(
    name=name,
    found=place or 'off',
    advice=''
    if place
    else 'set JAX_COMPILATION_CACHE_DIR to a folder that only you can write, '
    'so that a restarted run does not compile again',
  )


def _devices() -> Check:
  """Check that jax finds its devices."""
  try:
    devices = jax.devices()
  except RuntimeError as error:
    return Check(
      name='devices',
      found=str(error).splitlines()[0],
      advice='check the driver, that no other process holds the devices, and '
      'JAX_PLATFORMS; JAX_PLATFORMS=cpu runs on the CPU',
      is_problem=True,
    )
  kinds = ', '.join(sorted({device.device_kind for device in devices}))
  found = f'{len(devices)} of {kinds} in {jax.process_count()} process(es)'
  advice = ''
  if devices[0].platform == 'cpu':
    advice = (
      'for an accelerator, pip install "phenaki-jax[gpu]" or "phenaki-jax[tpu]"'
    )
  else:
    limit = (devices[0].memory_stats() or {}).get('bytes_limit')
    found += f', {limit / 2**30:.1f} GiB each' if limit else ''
  return Check(name='devices', found=found, advice=advice)
