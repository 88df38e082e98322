"""Ports change nothing until they are trained, and then what they read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import sharding
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
  memory=('source', 'history', 'character'),
  memory_every=1,
  story=True,
  scalars=('fps', 'level'),
)
PLAIN = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=1,
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
INPUTS = tuple(jnp.asarray(x) for x in (IDS, TEXT, TEXT_MASK))


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
        # Vectors of the network's width, and not token ids.
        values=RANDOM.normal(size=(2, 3, 4, 16)).astype(np.float32),
        slots=np.array([[0, 1, 2]] * 2, np.int32),
        visible=np.asarray(
          earlier(jnp.array([[0, 1, 2]] * 2), jnp.array([[0, 1, 2]] * 2))
        ),
        captions=RANDOM.normal(size=(2, 3, 5, 10)).astype(np.float32),
        spoken=np.ones((2, 3, 5), bool),
      ),
      'character': Entries(
        values=RANDOM.integers(0, 12, (2, 2, 4)).astype(np.int32),
        slots=np.array([[0, 1]] * 2, np.int32),
        visible=np.ones((2, 3, 2), bool),
      ),
    },
    scalars={
      'fps': np.array([8.0, 3.0], np.float32),
      'level': np.array([0.0, ABSENT], np.float32),
    },
  )


CONDITIONS = _conditions()


def _init(config):
  """Create the parameters as a generator does, from cheap random bits."""
  init = MaskedTransformer(config).init
  conditions = blank(config.ports, config.grid, batch=2, text_width=10)
  key = jax.random.key(0, impl='unsafe_rbg')
  variables = init(key, *INPUTS, conditions=conditions)
  return sharding.unbox(variables['params'])


@functools.cache
def _params():
  """Return trained parameters without ports, drawn, and fresh ones with."""
  shapes = flatten_dict(jax.eval_shape(lambda: _init(PLAIN)))
  bits = np.random.default_rng(1)
  drawn = {
    path: jnp.asarray(
      bits.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    )
    for path, leaf in shapes.items()
  }

  @jax.jit
  def of_ports():
    flat = flatten_dict(_init(PORTED))
    return {k: v for k, v in flat.items() if k not in drawn}

  return unflatten_dict(drawn), unflatten_dict({**of_ports(), **drawn})


@functools.cache
def _awake(port='all'):
  """Draw the parameters of a port as well, or of all ports."""
  plain, ported = (flatten_dict(tree) for tree in _params())
  bits = np.random.default_rng(2)
  for path in ported.keys() - plain.keys():
    if port in ('all', *path):
      value = bits.normal(0, 0.3, ported[path].shape)
      ported[path] = jnp.asarray(value, jnp.float32)
  return unflatten_dict(ported)


def _asleep(params, port):
  """Set the last layers of a port to zero."""
  last = {'memory': 'out', 'scalars': 'scalars'}[port]
  parts = {'memory': {'memory', 'captions'}}.get(port, {port})
  flat = flatten_dict(params)
  return unflatten_dict(
    {
      path: 0 * x
      if 'blocks' in path
      and path[-2] == last
      and parts & set(path)
      # The story is of captions in the memory.
      or port == 'memory'
      and 'story' in path
      and path[-2] in ('out', 'wo')
      else x
      for path, x in flat.items()
    }
  )


# A story of three images in a row, which see each other by the memory alone.
IMAGES = jnp.array([[0, 1, 2]] * 2)


def _apply(config, params, conditions):
  return MaskedTransformer(config).apply(
    {'params': params}, *INPUTS, IMAGES, conditions=conditions
  )


@jax.jit
def _with_gradients(params, conditions):
  """Return the logits, and gradients of a loss."""

  def loss(params):
    logits = _apply(PORTED, params, conditions)
    return -jnp.mean(jax.nn.log_softmax(logits)[..., 3]), logits

  grads, logits = jax.grad(loss, has_aux=True)(params)
  return logits, grads


def _logits(params, conditions=CONDITIONS):
  return np.asarray(_with_gradients(params, conditions)[0])


@functools.cache
def _plain_logits():
  return jax.jit(functools.partial(_apply, PLAIN))(_params()[0], None)


@pytest.mark.parametrize(
  'port', ['canvas', 'memory', 'story', 'scalars', 'all']
)
def test_a_port_that_is_added_changes_no_bit(port):
  """The one test of all ports: of a trained network, with any conditions."""
  _, ported = _params()
  expected = np.asarray(_plain_logits())
  np.testing.assert_array_equal(_logits(ported), expected)
  # Trained, the port is read.
  assert np.abs(_logits(_awake(port)) - expected).max() > 1e-3


def test_absent_conditions_are_no_part_of_the_program():
  plain, _ = _params()
  with_ports, without = (
    str(jax.make_jaxpr(lambda p, c=config: _apply(c, p, None))(plain))
    for config in (PORTED, PLAIN)
  )
  assert with_ports == without


def test_every_leaf_of_a_port_is_trained_after_one_step():
  """At first the last layers alone have gradients, because they are zero."""
  plain, ported = (flatten_dict(tree) for tree in _params())
  new = ported.keys() - plain.keys()
  params = unflatten_dict(ported)
  first = _with_gradients(params, CONDITIONS)[1]
  params = jax.tree.map(lambda x, g: x - 0.1 * g, params, first)
  second = flatten_dict(_with_gradients(params, CONDITIONS)[1])
  starts_at_zero = {path for path in new if not np.any(ported[path])}
  moved = {path for path in new if np.any(flatten_dict(first)[path])}
  biases = {path for path in new if path[-1] == 'bias'}
  assert moved == starts_at_zero - biases
  # The canvas has 2, the memory one for images and one for captions, the story
  # 2, and the scalars 3.
  assert len(moved) == 2 + 2 + 2 + 3
  assert all(np.any(second[path]) for path in new)


def _changed(change, port='all'):
  """Return which latent frames change, [B, t], with a change of conditions."""
  other = _logits(_awake(port), change(CONDITIONS))
  return (_logits(_awake(port)) != other).any((2, 3, 4))


def test_unknown_pixels_are_never_read():
  canvas = CONDITIONS.canvas

  def with_other(where, name):
    value = getattr(canvas, name)
    other = np.where(where, 1 - value, value).astype(value.dtype)
    return lambda c: c.replace(canvas=canvas.replace(**{name: other}))

  of_rgb = canvas.known[..., None]
  for name, known in (('rgb', of_rgb), ('depth', canvas.has_depth)):
    assert not _changed(with_other(~known, name)).any()
    assert _changed(with_other(known, name)).all()


@pytest.mark.parametrize('port', ['all', 'story'])
def test_a_frame_reads_only_earlier_slots_of_the_history(port):
  """Of a story in one row of images, to the last bit (AR-LDM)."""
  history = CONDITIONS.memory['history']
  for slot in range(3):
    for name in ('values', 'captions'):
      values = getattr(history, name).copy()
      values[:, slot] += 1

      def change(c, part={name: values}):  # noqa: B006
        memory = {**c.memory, 'history': history.replace(**part)}
        return c.replace(memory=memory)

      # The story encoder alone reads captions alone.
      is_read = (np.arange(3) > slot) & ((port, name) != ('story', 'values'))
      np.testing.assert_array_equal(_changed(change, port), [is_read] * 2)


def test_entries_that_none_sees_are_no_entries():
  blind = {
    role: entries.replace(visible=np.zeros_like(entries.visible))
    for role, entries in CONDITIONS.memory.items()
  }
  found = _logits(_awake(), CONDITIONS.replace(memory=blind))
  none = _logits(_asleep(_awake(), 'memory'))
  np.testing.assert_array_equal(found, none)
  assert (none != _logits(_awake())).any()


@pytest.mark.parametrize('role', ['source', 'character'])
def test_slots_are_told_apart(role):
  def change(c):
    entries = c.memory[role]
    entries = entries.replace(slots=entries.slots + 1)
    return c.replace(memory={**c.memory, role: entries})

  assert _changed(change).all()


def test_an_absent_scalar_is_none():
  def given(**scalars):
    values = {k: np.array(v, np.float32) for k, v in scalars.items()}
    return _logits(_awake(), CONDITIONS.replace(scalars=values))

  none = _logits(_asleep(_awake(), 'scalars'))
  found = given(fps=[8, ABSENT], level=[ABSENT, ABSENT])
  np.testing.assert_array_equal(found[1], none[1])
  assert (found[0] != none[0]).any()
  assert (found[0] != given(fps=[4, 4], level=[ABSENT, ABSENT])[0]).any()
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
      jax.eval_shape(lambda c: _apply(PLAIN, plain, c), given)


@pytest.mark.parametrize('scan', [False, True])
def test_a_memory_is_read_in_every_third_block(scan):
  ports = dataclasses.replace(PORTS, memory_every=1 if scan else 3)
  config = dataclasses.replace(PORTED, num_layers=4, scan=scan, ports=ports)
  shapes = jax.eval_shape(lambda: _init(config))['blocks']
  found = {
    name: block['memory']['out']['kernel'].shape
    for name, block in shapes.items()
    if 'memory' in block
  }
  if scan:
    assert found == {'blocks': (4, 2, 8, 16)}
  else:
    assert found == {'block_2': (2, 8, 16)}


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    (
      {
        'scan': True,
        'num_layers': 4,
        'ports': dataclasses.replace(PORTS, memory_every=2),
      },
      'scanned blocks are equal; set it to 1',
    ),
    (
      {'ports': dataclasses.replace(PORTS, memory_every=2)},
      'there are 1 blocks',
    ),
  ],
)
def test_a_memory_that_no_block_would_read_is_refused(changes, words):
  with pytest.raises(UserError, match=words):
    dataclasses.replace(PORTED, **changes)


def test_what_a_group_of_rows_lacks_is_absent_there():
  switch = np.zeros((3, 3), bool)
  parts = [CONDITIONS, Conditions(over_time=switch), None]
  joined = jax.jit(lambda parts: join(parts, [2, 3, 1]))(parts)
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
    {'memory': ('history',)},
    {'memory_slots': 3},
    {'story': False},
    {'scalars': ()},
  ):
    assert not dataclasses.replace(PORTS, **changes).extends(PORTS), changes
