"""The accelerator types of Cloud TPU: how each is spelled, and what it is.

The one table from which the launchers take host counts, topologies, runtime
versions and node labels. The number in `v4-32` and `v5p-32` counts cores, two
to a chip; that in `v5litepod-32` and `v6e-32` counts chips. A host has four
chips, or one or eight where a whole v5e or v6e slice is on one host.
"""

import argparse
import dataclasses
import difflib
import pathlib
import re
from collections.abc import Mapping

_FLAGS = pathlib.Path(__file__).parents[1] / 'phenaki_jax/planning/flags'
_TORUS = {
  **{4: '2x2x1', 8: '2x2x2', 16: '2x2x4', 32: '2x4x4', 64: '4x4x4'},
  **{128: '4x4x8', 256: '4x8x8', 512: '8x8x8', 1024: '8x8x16'},
  2048: '8x16x16',
}
_GRID = {
  **{1: '1x1', 4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8'},
  **{128: '8x16', 256: '16x16'},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
  """A generation of TPUs.

  Attributes:
    cores: what the number of an accelerator type counts per chip.
    topologies: shape of a slice, by its number of chips.
    runtimes: runtime versions of its virtual machines; the first is used.
    label: of its nodes on GKE.
    flags: name of the file of its compiler flags.
  """

  cores: int
  topologies: Mapping[int, str]
  runtimes: tuple[str, ...]
  label: str
  flags: str


GENERATIONS = {
  'v4': Generation(
    cores=2,
    topologies=_TORUS,
    runtimes=('tpu-ubuntu2204-base', 'v2-alpha-tpuv4'),
    label='tpu-v4-podslice',
    flags='v4',
  ),
  'v5litepod': Generation(
    cores=1,
    topologies=_GRID,
    runtimes=('v2-alpha-tpuv5-lite',),
    label='tpu-v5-lite-podslice',
    flags='v5e',
  ),
  'v5p': Generation(
    cores=2,
    topologies={
      **_TORUS,
      **{3072: '12x16x16', 4096: '16x16x16', 6144: '16x16x24'},
    },
    runtimes=('v2-alpha-tpuv5',),
    label='tpu-v5p-slice',
    flags='v5p',
  ),
  'v6e': Generation(
    cores=1,
    topologies=_GRID,
    runtimes=('v2-alpha-tpuv6e',),
    label='tpu-v6e-slice',
    flags='v6e',
  ),
}

# What people write for the names above.
_NICKNAMES = {
  **{'v5e': 'v5litepod', 'v5lite': 'v5litepod', 'v5': 'v5p'},
  **{'v6': 'v6e', 'trillium': 'v6e'},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accelerator:
  """A slice: `chips` chips in shape `topology`, on `hosts` hosts."""

  name: str
  generation: Generation
  chips: int

  @property
  def topology(self) -> str:
    """Return its shape in chips, such as 4x4x8."""
    return self.generation.topologies[self.chips]

  @property
  def hosts(self) -> int:
    """Return its number of hosts, which is the number of processes."""
    on_one = 8 if self.generation.cores == 1 else 4
    return 1 if self.chips <= on_one else self.chips // 4

  @property
  def compiler_flags(self) -> str:
    """Return the flags that `phenaki compile` uses, for LIBTPU_INIT_ARGS."""
    lines = (_FLAGS / f'{self.generation.flags}.txt').read_text().splitlines()
    return ' '.join(f'--{line}' for line in lines if line[0] != '#')

  def describe(self, slices: int) -> str:
    """Return what a job gets, in one line."""
    return (
      f'{slices} x {self.name}: {self.chips * slices} chips as {self.topology} '
      f'on {self.hosts * slices} hosts'
    )

  def runtime(self, given: str | None) -> str:
    """Return the runtime version that was given, or the default.

    Raises:
      argparse.ArgumentTypeError: if it is not one of this generation's.
    """
    known = self.generation.runtimes
    if given is not None and given not in known:
      raise argparse.ArgumentTypeError(
        f'--runtime-version is {given!r}, but {self.name} takes '
        f'{" or ".join(known)}; leave it out to use the first'
      )
    return given or known[0]


def accelerator(text: str) -> Accelerator:
  """Parse an accelerator type such as v5p-128.

  Raises:
    argparse.ArgumentTypeError: for any other spelling, with the nearest ones.
  """
  parts = re.fullmatch(r'(?:tpu-?)?([a-z0-9]+?)-?(\d+)', text.lower())
  prefix, number = (parts[1], int(parts[2])) if parts else (text.lower(), 0)
  if prefix.startswith(('7', 'v7', 'ironwood')) or text.startswith('tpu7'):
    raise argparse.ArgumentTypeError(
      f'{text} is not supported: TPU7x has no queued resources; use v4, v5e, '
      'v5p or v6e'
    )
  names = [*GENERATIONS, *_NICKNAMES]
  near = difflib.get_close_matches(prefix, names, n=1, cutoff=0.5)
  if not near:
    raise argparse.ArgumentTypeError(
      f'{text!r} is no accelerator type; give one such as '
      'v4-256, v5litepod-256, v5p-128 or v6e-64'
    )
  name = _NICKNAMES.get(near[0], near[0])
  generation = GENERATIONS[name]
  sizes = [chips * generation.cores for chips in generation.topologies]
  if text == f'{name}-{number}' and number in sizes:
    chips = number // generation.cores
    return Accelerator(name=text, generation=generation, chips=chips)
  closest = sorted(sizes, key=lambda size: abs(size - number))
  options = closest[: 1 if number in sizes else 2]
  unit = 'chips' if generation.cores == 1 else 'cores, two to a chip'
  raise argparse.ArgumentTypeError(
    f'{text!r} is no accelerator type; did you mean '
    f'{" or ".join(f"{name}-{size}" for size in options)}? '
    f'The number counts {unit}'
  )
