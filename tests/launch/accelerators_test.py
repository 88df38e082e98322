"""The table of accelerators, and what its launchers say about typing errors."""

import argparse
import math

import accelerators
import pytest

from phenaki_jax.planning.chips import compiler_flags


def test_every_topology_has_its_number_of_chips():
  for name, generation in accelerators.GENERATIONS.items():
    for chips, topology in generation.topologies.items():
      assert math.prod(map(int, topology.split('x'))) == chips
      found = accelerators.accelerator(f'{name}-{chips * generation.cores}')
      assert (found.chips, found.topology) == (chips, topology)
      assert chips % found.hosts == 0
      assert chips // found.hosts in (1, 4, 8)


def test_launchers_set_the_flags_that_compile_uses():
  for name, generation in accelerators.GENERATIONS.items():
    found = accelerators.accelerator(f'{name}-{8 * generation.cores}')
    flags = compiler_flags(generation.flags)
    stated = [f'--{flag}={value}' for flag, value in flags.items()]
    assert len(stated) >= 4 and found.compiler_flags.split() == stated


@pytest.mark.parametrize(
  ('name', 'chips', 'hosts', 'topology'),
  [
    ('v4-8', 4, 1, '2x2x1'),
    ('v4-256', 128, 32, '4x4x8'),
    ('v5litepod-8', 8, 1, '2x4'),
    ('v5litepod-256', 256, 64, '16x16'),
    ('v5p-128', 64, 16, '4x4x4'),
    ('v6e-64', 64, 16, '8x8'),
  ],
)
def test_slices_are_as_google_documents_them(name, chips, hosts, topology):
  found = accelerators.accelerator(name)
  assert (found.chips, found.hosts, found.topology) == (chips, hosts, topology)


@pytest.mark.parametrize(
  ('given', 'said'),
  [
    ('v5e-16', 'did you mean v5litepod-16? The number counts chips'),
    ('V4-8', 'did you mean v4-8?'),
    ('v5litpod-16', 'did you mean v5litepod-16?'),
    ('tpu-v6e-8', 'did you mean v6e-8?'),
    ('v5p-100', 'did you mean v5p-128 or v5p-64? The number counts cores'),
    ('v6e', 'did you mean v6e-1 or v6e-4?'),
    ('v4-6000', 'did you mean v4-4096 or v4-2048?'),
    ('tpu7x-128', 'TPU7x has no queued resources'),
    ('h100-8', 'is no accelerator type; give one such as v4-256'),
    ('', 'is no accelerator type'),
  ],
)
def test_a_near_miss_is_named(given, said):
  with pytest.raises(argparse.ArgumentTypeError) as raised:
    accelerators.accelerator(given)
  assert said in str(raised.value)


def test_runtime_versions_belong_to_generations():
  for name, version in (
    ('v4-8', 'tpu-ubuntu2204-base'),
    ('v5litepod-4', 'v2-alpha-tpuv5-lite'),
    ('v5p-8', 'v2-alpha-tpuv5'),
    ('v6e-4', 'v2-alpha-tpuv6e'),
  ):
    found = accelerators.accelerator(name)
    assert found.runtime(None) == found.runtime(version) == version
  with pytest.raises(argparse.ArgumentTypeError, match="'v2-alpha-tpuv5', but"):
    found.runtime('v2-alpha-tpuv5')
