"""Memory and collectives of programs that are small enough to count by hand."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from phenaki_jax import sharding
from phenaki_jax.planning import program
from phenaki_jax.planning.program import Collective


def _compiled(length):
  """Sum over the devices in every iteration of a loop, and once after it."""
  mesh = sharding.make_mesh(sharding.MeshConfig())
  split = NamedSharding(mesh, PartitionSpec('data'))
  whole = NamedSharding(mesh, PartitionSpec())

  def total(x, shards):
    def body(carry, _):
      return carry + jnp.sum(shards * carry[0]), None

    x, _ = jax.lax.scan(body, x, length=length)
    return x + jnp.sum(shards * x[1])

  shapes = (
    jax.ShapeDtypeStruct((16,), jnp.float32, sharding=whole),
    jax.ShapeDtypeStruct((128,), jnp.float32, sharding=split),
  )
  return (
    jax.jit(total, donate_argnums=0, out_shardings=whole)
    .lower(*shapes)
    .compile()
  )


def test_collectives_of_a_loop_count_in_each_iteration():
  found = program.collectives(_compiled(5).as_text())
  assert found == {'all-reduce': Collective(count=6, bytes=6 * 4)}


def test_an_operation_that_starts_one_counts_its_largest_array():
  text = """HloModule x
ENTRY %main (a: bf16[4,8]) -> bf16[32,8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %s = (bf16[4,8]{1,0}, bf16[32,8]{1,0}) all-gather-start(%a), dimensions={0}
  ROOT %d = bf16[32,8]{1,0} all-gather-done(%s)
}
"""
  found = program.collectives(text)
  assert found == {'all-gather': Collective(count=1, bytes=32 * 8 * 2)}


def test_a_collective_in_parts_counts_once():
  """A compiler that fuses one with arithmetic repeats it with its channel."""
  line = '(bf16[8]{0}, f32[2]{0}) all-reduce(%a, %b), channel_id=7, to_apply=%s'
  text = (
    f'ENTRY %main (a: bf16[8]) -> bf16[8] {{\n  %x = {line}\n  %y = {line}\n}}'
  )
  found = program.collectives(text)
  assert found == {'all-reduce': Collective(count=1, bytes=8 * 2 + 2 * 4)}


def test_donated_arguments_are_aliased():
  found = program.memory(_compiled(2))
  # 16 replicated numbers and an eighth of 128.
  assert found.arguments == 2 * 16 * 4
  assert found.aliased == found.results == 16 * 4
  assert found.peak >= found.arguments
