"""Ports change nothing until they are trained, and then what they read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.nn.conditions import (
  ABSENT,
  Canvas,
  Conditions,
  Entries,
  blank,
  earlier,
  join,
)
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.nn.ports import sinusoids

PORTS = PortsConfig(
  canvas=True,
  patch=(2, 4, 3),
  memory=('source', 'history'),
  memory_every=2,
  scalars=('fps', 'level'),
)
PLAIN = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=2,
  num_heads=2,
  mlp_dim=32,
  attention='factorized',
  ports=PortsConfig(),
)
PORTED = dataclasses.replace(PLAIN, ports=PORTS)
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, 13, (2, 3, 2, 2)).astype(np.int32)
TEXT = RANDOM.normal(size=(2, 5, 10)).astype(np.float32)
TEXT_MASK = np.arange(5)[None] < [[3], [5]]


def _conditions():
  return Conditions(
    canvas=Canvas(
      rgb=RANDOM.integers(0, 256, (2, 5, 8, 6, 3)).astype(np.uint8),
      known=RANDOM.random((2, 5, 8, 6)) < 0.5,
      depth=RANDOM.random((2, 5, 8, 6)).astype(np.float32),
      has_depth=RANDOM.random((2, 5, 8, 6)) < 0.5,
    ),
    memory={
      'source': Entries(
        values=RANDOM.integers(0, 12, (2, 1, 4)).astype(np.int32),
        slots=np.zeros((2, 1), np.int32),
        visible=np.ones((2, 3, 1), bool),
      ),
      'history': Entries(
        values=RANDOM.normal(size=(2, 3, 4, 16)).astype(np.float32),
        slots=np.array([[0, 1, 2]] * 2, np.int32),
        visible=np.asarray(
          earlier(np.array([[0, 1, 2]] * 2), np.array([[0, 1, 2]] * 2))
        ),
      ),
    },
    scalars={
      'fps': np.array([8.0, 3.0], np.float32),
      'level': np.array([0.0, ABSENT], np.float32),
    },
  )


CONDITIONS = _conditions()


def _init(config):
  """Create the parameters as a generator does, those that are zero as zero."""
  init = MaskedTransformer(config).init
  conditions = blank(config.ports, config.grid, batch=2)
  return sharding.unbox(
    init(rng.root(0), IDS, TEXT, TEXT_MASK, conditions=conditions)['params']
  )


@functools.cache
def _params():
  """Return trained parameters without ports, drawn, and fresh ones with."""
  fresh = flatten_dict(jax.jit(_init, static_argnums=0)(PORTED))
  shapes = flatten_dict(jax.eval_shape(lambda: _init(PLAIN)))
  bits = np.random.default_rng(1)
  drawn = {
    path: jnp.asarray(
      bits.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    )
    for path, leaf in shapes.items()
  }
  return unflatten_dict(drawn), unflatten_dict({**fresh, **drawn})


@functools.cache
def _awake():
  """Draw the parameters of the ports as well."""
  plain, ported = (flatten_dict(tree) for tree in _params())
  bits = np.random.default_rng(2)
  drawn = {
    path: jnp.asarray(bits.normal(0, 0.3, leaf.shape), jnp.float32)
    for path, leaf in ported.items()
  }
  return unflatten_dict({**drawn, **plain})


@functools.partial(jax.jit, static_argnums=0)
def _apply(config, params, conditions, ids, segments=None):
  return MaskedTransformer(config).apply(
    {'params': params}, ids, TEXT, TEXT_MASK, segments, conditions=conditions
  )


def _logits(params, conditions, **options):
  return np.asarray(_apply(PORTED, params, conditions, IDS, **options))


@pytest.mark.parametrize('port', ['canvas', 'memory', 'scalars', 'all'])
def test_a_port_that_is_added_changes_no_bit(port):
  """The one test of all ports: of a trained network, with any conditions."""
  plain, ported = _params()
  only = {'canvas': None, 'memory': {}, 'scalars': {}}
  only.pop(port, None)
  given = CONDITIONS if port == 'all' else CONDITIONS.replace(**only)
  expected = np.asarray(_apply(PLAIN, plain, None, IDS))
  np.testing.assert_array_equal(_logits(ported, given), expected)
  # Trained, the port is read; absent, it still changes nothing.
  assert np.abs(_logits(_awake(), given) - expected).max() > 1e-3
  np.testing.assert_array_equal(_logits(_awake(), None), expected)


def test_every_leaf_of_a_port_is_trained_after_one_step():
  """At first the last layers alone have gradients, because they are zero."""
  plain, ported = (flatten_dict(tree) for tree in _params())
  new = ported.keys() - plain.keys()

  @jax.jit
  def gradients(params):
    def loss(params):
      logits = _apply(PORTED, params, CONDITIONS, IDS)
      return -jnp.mean(jax.nn.log_softmax(logits)[..., 3])

    return jax.grad(loss)(params)

  params = unflatten_dict(ported)
  first = gradients(params)
  params = jax.tree.map(lambda x, g: x - 0.1 * g, params, first)
  second = flatten_dict(gradients(params))
  starts_at_zero = {path for path in new if not np.any(ported[path])}
  moved = {path for path in new if np.any(flatten_dict(first)[path])}
  biases = {path for path in new if path[-1] == 'bias'}
  assert moved == starts_at_zero - biases
  # The canvas 2, the memory 1, and 3 norms of both blocks.
  assert len(moved) == 2 + 1 + 6
  assert all(np.any(second[path]) for path in new)


def _changed(change, **options):
  """Return which latent frames change, [B, t], with a change of conditions."""
  before = _logits(_awake(), CONDITIONS, **options)
  after = _logits(_awake(), change(CONDITIONS), **options)
  return (before != after).any((2, 3, 4))


def test_unknown_pixels_are_never_read():
  canvas = CONDITIONS.canvas

  def with_other(where, name):
    value = getattr(canvas, name)
    other = np.where(where, 1 - value, value).astype(value.dtype)
    return lambda c: c.replace(canvas=canvas.replace(**{name: other}))

  for name, known in (('rgb', canvas.known[..., None]), ('depth', canvas.has_depth)):
    assert not _changed(with_other(~known, name)).any()
    assert _changed(with_other(known, name)).all()


def test_a_frame_reads_only_earlier_slots_of_the_history():
  """Of a story in one row of images, to the last bit (AR-LDM)."""
  history = CONDITIONS.memory['history']
  images = np.array([[0, 1, 2]] * 2, np.int32)
  for slot in range(3):
    values = history.values.copy()
    values[:, slot] += 1

    def change(c, values=values):
      memory = {**c.memory, 'history': history.replace(values=values)}
      return c.replace(memory=memory)

    found = _changed(change, segments=images)
    np.testing.assert_array_equal(found, [np.arange(3) > slot] * 2)


def test_entries_that_none_sees_are_no_entries():
  blind = jax.tree.map(
    lambda x: np.zeros_like(x) if x.dtype == bool else x, CONDITIONS.memory
  )
  rest = CONDITIONS.replace(memory={})
  np.testing.assert_array_equal(
    _logits(_awake(), rest.replace(memory=blind)), _logits(_awake(), rest)
  )


def test_slots_and_roles_are_told_apart():
  source = CONDITIONS.memory['source']

  def only(**memory):
    return _logits(_awake(), Conditions(memory=memory))

  first = only(source=source)
  assert (first != only(source=source.replace(slots=source.slots + 1))).any()
  assert (first != only(history=source)).any()


def test_an_absent_scalar_is_none():
  def only(**scalars):
    values = {k: np.array(v, np.float32) for k, v in scalars.items()}
    return _logits(_awake(), Conditions(scalars=values))

  none = _logits(_awake(), None)
  found = only(fps=[8, ABSENT], level=[ABSENT, ABSENT])
  np.testing.assert_array_equal(found[1], none[1])
  assert (found[0] != none[0]).any()
  np.testing.assert_array_equal(found, only(fps=[8, ABSENT]))
  waves = np.asarray(sinusoids(jnp.array([0.0, 1.0, 2.0, 8.0, 24.0, 30.0])))
  apart = np.abs(waves[:, None] - waves[None]).max(-1)
  assert (apart + np.eye(6) > 0.1).all()


def test_conditions_without_their_port_are_refused():
  plain, _ = _params()
  for given, words in (
    (Conditions(canvas=CONDITIONS.canvas), 'ports.canvas is False'),
    (Conditions(memory=CONDITIONS.memory), 'the memory has roles'),
    (Conditions(scalars=CONDITIONS.scalars), 'the scalars are'),
  ):
    with pytest.raises(ValueError, match=words):
      jax.eval_shape(lambda c: _apply(PLAIN, plain, c, IDS), given)


@pytest.mark.parametrize('scan', [False, True])
def test_a_memory_is_read_in_every_third_block(scan):
  ports = dataclasses.replace(PORTS, memory_every=1 if scan else 3)
  config = dataclasses.replace(PORTED, num_layers=7, scan=scan, ports=ports)
  shapes = jax.eval_shape(lambda: _init(config))['blocks']
  found = {
    name: block['memory']['out']['kernel'].shape
    for name, block in shapes.items()
    if 'memory' in block
  }
  if scan:
    assert found == {'blocks': (7, 2, 8, 16)}
  else:
    assert found == {'block_2': (2, 8, 16), 'block_5': (2, 8, 16)}


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'scan': True}, 'scanned blocks are equal; set it to 1'),
    ({'num_layers': 1}, 'there are 1 blocks'),
  ],
)
def test_a_memory_that_no_block_would_read_is_refused(changes, words):
  with pytest.raises(UserError, match=words):
    dataclasses.replace(PORTED, **changes)


def test_what_a_group_of_rows_lacks_is_absent_there():
  switch = np.zeros((3, 3), bool)
  joined = join([CONDITIONS, Conditions(over_time=switch), None], [2, 3, 1])
  first, rest = (
    jax.tree.map(lambda x, part=part: np.asarray(x)[part], joined)
    for part in (slice(2), slice(2, None))
  )
  given = CONDITIONS.replace(over_time=np.ones((2, 3), bool))
  jax.tree.map(np.testing.assert_array_equal, first, given)
  assert not rest.canvas.known.any() and not rest.canvas.has_depth.any()
  assert not any(x.visible.any() for x in rest.memory.values())
  assert all((x == ABSENT).all() for x in rest.scalars.values())
  assert rest.over_time[:3].sum() == 0 and rest.over_time[3].all()
  assert join([None, None], [2, 2]) is None


def test_ports_can_be_added_and_not_taken_away():
  none = PortsConfig()
  assert PORTS.extends(none) and PORTS.extends(PORTS)
  assert not none.extends(PORTS)
  for changes in (
    {'canvas': False},
    {'patch': (2, 4, 4)},
    {'memory': ('source',)},
    {'memory_slots': 3},
    {'scalars': ()},
  ):
    assert not dataclasses.replace(PORTS, **changes).extends(PORTS), changes
