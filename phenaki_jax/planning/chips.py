"""Accelerators: their peak arithmetic, their memory, and pods of TPUs.

`topology` describes the devices of a pod to the compiler of libtpu, which
compiles for them on a machine without a TPU.
"""

import dataclasses
import functools
import importlib.resources
import math
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jax.experimental import topologies

from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
  """An accelerator.

  Attributes:
    peak: operations per second in bfloat16, from its datasheet.
    memory: bytes that a program may use; what the compiler of a TPU allows.
    config: how the cores of a TPU are used; in a 'megacore' two are one device.
  """

  peak: float
  memory: float
  config: str = 'default'


_GIB = 2.0**30

CHIPS: Mapping[str, Chip] = MappingProxyType(
  {
    'v4': Chip(peak=275e12, memory=30.75 * _GIB, config='megacore'),
    'v5e': Chip(peak=197e12, memory=15.75 * _GIB),
    'v5p': Chip(peak=459e12, memory=95.74 * _GIB, config='megacore'),
    'v6e': Chip(peak=918e12, memory=31.25 * _GIB),
    'h100': Chip(peak=989e12, memory=78.0 * _GIB),
    'h200': Chip(peak=989e12, memory=139.0 * _GIB),
  }
)
"""The chips by name."""

TPUS = tuple(name for name in CHIPS if name.startswith('v'))


def chip(name: str) -> Chip:
  """Return a chip by its name.

  Raises:
    UserError: there is no such chip.
  """
  if name not in CHIPS:
    raise UserError(
      f'there is no chip {name!r}; name one of {", ".join(CHIPS)}'
    )
  return CHIPS[name]


def split_topology(topology: str) -> tuple[str, int]:
  """Return the chip and the number of chips of a topology such as 'v4:4x4x8'.

  Raises:
    UserError: it is not a chip and the sides of a pod.
  """
  found = re.fullmatch(r'(\w+):(\d+(?:x\d+){1,2})', topology)
  if not found or found[1] not in TPUS:
    raise UserError(
      f'the topology is {topology!r}; give a TPU ({", ".join(TPUS)}) and the '
      'sides of its pod, such as v4:4x4x8, v5p:4x4x4, v5e:16x16 or v6e:8x8'
    )
  return found[1], math.prod(map(int, found[2].split('x')))


@functools.cache
def compiler_flags(name: str) -> Mapping[str, str]:
  """Return the compiler's flags of a TPU, from the file of its generation.

  The launchers set them in `LIBTPU_INIT_ARGS`.
  """
  folder = importlib.resources.files('phenaki_jax.planning')
  lines = (folder / 'flags' / f'{name}.txt').read_text().splitlines()
  flags = (line.split('=') for line in lines if not line.startswith('#'))
  return MappingProxyType({flag: value for flag, value in flags})


def described_devices(topology: str) -> list[Any]:
  """Describe the devices of a pod of TPUs, one for each chip.

  Raises:
    UserError: the topology is not one, or there is no libtpu.
  """
  name, count = split_topology(topology)
  # Ask no metadata server about this machine, and ignore other processes.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  try:
    described = topologies.get_topology_desc(
      topology_name=topology,
      platform='tpu',
      chip_config_name=CHIPS[name].config,
    )
  except Exception as error:
    # Not before: JAX also takes a library that TPU_LIBRARY_PATH names.
    check_extra(f'the topology {topology}', 'libtpu', extra='tpu')
    raise UserError(
      f'the topology {topology} cannot be described ({error}); give sides that '
      'such a pod may have'
    ) from error
  devices = list(described.devices)
  assert len(devices) == count, f'{len(devices)} devices of {count} chips'
  return devices
