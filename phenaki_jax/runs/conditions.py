"""The conditions under which a run was started: code, packages, devices.

They hold no path and no value of the environment, but one: PHENAKI_COMMIT,
which a launcher sets where the code is no git repository. `-dirty` follows the
commit there if files differ from it.
"""

import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

import jax
from jax.sharding import Mesh

import phenaki_jax
from phenaki_jax import config as config_lib
from phenaki_jax.files.digests import digest_json
from phenaki_jax.runs.experiment import Experiment

# Absent ones are left out.
_PACKAGES = (
  *('jax', 'jaxlib', 'libtpu', 'flax', 'optax', 'orbax-checkpoint', 'grain'),
  *('numpy', 'tensorstore'),
)


def conditions(experiment: Experiment, mesh: Mesh) -> dict[str, Any]:
  """Return the facts of a start of a run, as JSON values."""
  devices = jax.devices()
  return {
    'config': digest_json(config_lib.to_dict(experiment)),
    'code': commit(),
    'versions': versions(),
    'devices': {
      'kind': devices[0].device_kind,
      'count': len(devices),
      'processes': jax.process_count(),
    },
    'mesh': dict(mesh.shape),
  }


def commit() -> dict[str, Any]:
  """Return the commit of the code, and whether files differ from it.

  Without a repository and without PHENAKI_COMMIT both are None.
  """
  package = pathlib.Path(phenaki_jax.__file__).parent
  try:
    # The package may be installed inside the repository of another project.
    _git(package, 'ls-files', '--error-unmatch', '__init__.py')
    found = _git(package, 'rev-parse', 'HEAD')
    changed = _git(package, 'status', '--porcelain', '--untracked-files=no')
    return {'commit': found, 'dirty': bool(changed)}
  except (OSError, subprocess.CalledProcessError):
    stated = os.environ.get('PHENAKI_COMMIT', '')
    match = re.fullmatch(r'([0-9a-f]{7,64})(-dirty)?', stated)
    if match is None:
      return {'commit': None, 'dirty': None}
    return {'commit': match[1], 'dirty': match[2] is not None}


def versions() -> dict[str, str]:
  """Return the versions of Python and of the packages that compute."""
  found = {
    'python': platform.python_version(),
    'phenaki-jax': phenaki_jax.__version__,
  }
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def _git(folder: pathlib.Path, *words: str) -> str:
  return subprocess.run(
    ['git', '-C', str(folder), *words],
    check=True,
    capture_output=True,
    text=True,
  ).stdout.strip()
