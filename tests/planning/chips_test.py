"""Names of chips and pods."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.planning import chips


@pytest.mark.parametrize(
  ('topology', 'expected'),
  [
    ('v4:4x4x8', ('v4', 128)),
    ('v5p:4x4x4', ('v5p', 64)),
    ('v5e:16x16', ('v5e', 256)),
    ('v6e:8x8', ('v6e', 64)),
  ],
)
def test_a_topology_is_a_chip_and_the_sides_of_a_pod(topology, expected):
  assert chips.split_topology(topology) == expected


@pytest.mark.parametrize('topology', ['v4', 'v4:8', 'h100:2x2', 'v9:2x2', ''])
def test_what_is_no_topology_is_refused(topology):
  with pytest.raises(UserError, match='give a TPU .*such as v4:4x4x8'):
    chips.split_topology(topology)


def test_an_unknown_chip_is_refused():
  assert chips.chip('v4').peak == 275e12
  with pytest.raises(UserError, match="no chip 'v7'; name one of v4"):
    chips.chip('v7')


HAS_LIBTPU = importlib.util.find_spec('libtpu') is not None


@pytest.mark.skipif(HAS_LIBTPU, reason='the extra tpu is installed')
def test_without_libtpu_the_sentence_names_its_extra(monkeypatch):
  for name in ('TPU_SKIP_MDS_QUERY', 'ALLOW_MULTIPLE_LIBTPU_LOAD'):
    monkeypatch.setenv(name, '1')  # They are set, and removed again.
  with pytest.raises(UserError, match='the topology v4:2x2x1 needs libtpu; ru'):
    chips.described_devices('v4:2x2x1')


@pytest.mark.slow
@pytest.mark.skipif(not HAS_LIBTPU, reason='without the extra tpu')
@pytest.mark.parametrize(
  'topology', ['v4:2x2x1', 'v5e:2x2', 'v5p:2x2x1', 'v6e:2x2']
)
def test_the_compiler_takes_the_flags_of_a_generation(topology):
  """It refuses unknown flags, and fusions that a generation cannot do."""
  mesh = jax.sharding.Mesh(chips.described_devices(topology), ('x',))
  place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('x'))
  matrix = jax.ShapeDtypeStruct((256, 256), jnp.bfloat16, sharding=place)
  lowered = jax.jit(jnp.dot, out_shardings=place).lower(matrix, matrix)
  flags = dict(chips.compiler_flags(chips.split_topology(topology)[0]))
  assert 'all-gather' in lowered.compile(compiler_options=flags).as_text()
  with pytest.raises(jax.errors.JaxRuntimeError, match='xla_tpu_none'):
    lowered.compile(compiler_options={**flags, 'xla_tpu_none': 'true'})
