"""Load a pretrained T5 encoder from a checkpoint of T5X or Hugging Face.

Every tensor of the checkpoint is accounted for exactly once: it is a parameter
of the encoder, or it belongs to the decoder or the optimizer and is counted as
left out. Anything else is an error.
"""

import collections
import dataclasses
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from jax.typing import DTypeLike

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.text.tensors import Tensor, Tensors, open_tensors, readable

_log = logging.getLogger(__name__)

_EMBEDDING = 'token_embedder/embedding'
_RELATIVE = 'encoder/relpos_bias/rel_embedding'
_SCANNED = re.compile(r'encoder/(?!layers_\d+/)(.*/)?(attention|mlp)/')

# Names of Hugging Face inside a block, and whether the matrix is transposed.
_BLOCK = {
  **{
    f'layer.0.SelfAttention.{letter}': (f'attention/{name}/kernel', True)
    for letter, name in (
      *(('q', 'query'), ('k', 'key'), ('v', 'value')),
      ('o', 'out'),
    )
  },
  **{
    f'layer.1.DenseReluDense.{name}': (f'mlp/{name}/kernel', True)
    for name in ('wi', 'wi_0', 'wi_1', 'wo')
  },
  'layer.0.layer_norm': ('pre_attention_layer_norm/scale', False),
  'layer.1.layer_norm': ('pre_mlp_layer_norm/scale', False),
}
_TOP = {
  'shared.weight': (_EMBEDDING, False),
  'encoder.embed_tokens.weight': (_EMBEDDING, False),
  'encoder.final_layer_norm.weight': ('encoder/encoder_norm/scale', False),
  'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight': (
    _RELATIVE,
    True,
  ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
  """A pretrained encoder.

  Attributes:
    config: its shape.
    params: its parameters, on the mesh.
    left_out: number of tensors of the checkpoint that are no parameters of the
      encoder, by what they belong to.
  """

  config: TextConfig
  params: Any
  left_out: Mapping[str, int]


def load_encoder(
  path: epath.PathLike,
  *,
  mesh: Mesh | None,
  max_length: int,
  dtype: DTypeLike = jnp.float32,
) -> Pretrained:
  """Load an encoder; each device reads only its own shards.

  Args:
    path: see `tensors.open_tensors`.
    mesh: from `sharding.make_mesh`; None for whole arrays in numpy.
    max_length: token ids of a text, which a checkpoint does not limit.
    dtype: of the parameters: float32 or bfloat16.

  Raises:
    NotFoundError: there is no checkpoint.
    UserError: the checkpoint is damaged, lacks tensors, has tensors that the
      encoder does not know, or is of a model with scanned layers.
  """
  tensors = open_tensors(path)
  with readable(tensors.path):
    found, left_out = encoder_tensors(tensors)
    config = _config(tensors, found, max_length)
    boxed = jax.eval_shape(
      T5Encoder(config).init, jax.random.key(0), jnp.ones((1, 1), jnp.int32)
    )
    described = sharding.unbox(boxed['params'])
    if mesh is not None:
      described = sharding.describe(boxed['params'], mesh, uneven='replicate')
    expected = flatten_dict(described, sep='/')
    _compare(found, expected, tensors.path)
    params: dict[str, Any] = {
      name: jax.make_array_from_callback(
        leaf.shape,
        leaf.sharding,
        _reader(found[name], dtype),
      )
      if mesh is not None
      else found[name].whole().astype(dtype)
      for name, leaf in expected.items()
    }
  _log.info(
    'Read %d tensors of the encoder in %s; left out: %s.',
    len(params),
    tensors.path,
    ', '.join(f'{n} of the {what}' for what, n in left_out.items()) or 'none',
  )
  return Pretrained(
    config=config,
    params=unflatten_dict(params, sep='/'),
    left_out=left_out,
  )


def read_config(path: epath.PathLike, *, max_length: int) -> TextConfig:
  """Return the shape of an encoder, without reading its arrays.

  Args:
    path: see `tensors.open_tensors`.
    max_length: token ids of a text.

  Raises:
    NotFoundError: there is no checkpoint.
    UserError: the checkpoint is damaged, or is not of a T5 encoder.
  """
  tensors = open_tensors(path)
  with readable(tensors.path):
    return _config(tensors, encoder_tensors(tensors)[0], max_length)


def encoder_tensors(
  tensors: Tensors,
) -> tuple[dict[str, Tensor], dict[str, int]]:
  """Return the tensors of the encoder by T5X's names, and the others' counts.

  Raises:
    UserError: a tensor is unknown, or two tensors are the same parameter and
      differ.
  """
  name_of = _t5x_name if tensors.is_t5x else _hugging_face_name
  found: dict[str, Tensor] = {}
  left_out: collections.Counter[str] = collections.Counter()
  for source, tensor in tensors.items.items():
    name, is_transposed, owner = name_of(source)
    if not name:
      left_out[owner] += 1
      continue
    if is_transposed:
      tensor = tensor.transposed
    if name in found:
      # Hugging Face stores a shared embedding under one or both of its names.
      if not np.array_equal(found[name].whole(), tensor.whole()):
        raise UserError(
          f'the checkpoint {tensors.path} holds {name} twice, with different '
          f'values; one is {source}'
        )
      left_out['copies'] += 1
    found[name] = tensor
  if not found:
    raise UserError(
      f'the checkpoint {tensors.path} has no T5 encoder; its first tensor is '
      f'{next(iter(tensors.items), "absent")}'
    )
  return found, dict(left_out)


def infer_config(
  found: Mapping[str, Tensor], *, path: epath.PathLike, max_length: int
) -> TextConfig:
  """Return the shape of an encoder, from those of its tensors.

  Raises:
    UserError: the layers are scanned, or the tensors that tell are missing.
  """
  scanned = [name for name in found if _SCANNED.match(name)]
  if scanned:
    raise UserError(
      f'the checkpoint {path} stores all layers in one array ({scanned[0]}), '
      'as scanned models such as umT5 do; only checkpoints with one set of '
      'arrays per layer (layers_0, layers_1, ...) can be read'
    )
  own = [name for name in found if re.match(r'.*/layers_\d+/relpos_bias', name)]
  if own:
    raise UserError(
      f'the checkpoint {path} has relative positions in every layer '
      f'({own[0]}), as umT5 does; T5 shares those of the first layer'
    )
  layers = {
    int(match[1])
    for name in found
    if (match := re.match(r'encoder/layers_(\d+)/', name))
  }
  is_relu = 'encoder/layers_0/mlp/wi/kernel' in found
  hidden = f'encoder/layers_0/mlp/{"wi" if is_relu else "wi_0"}/kernel'
  query = 'encoder/layers_0/attention/query/kernel'
  for name, rank in ((_EMBEDDING, 2), (_RELATIVE, 2), (hidden, 2), (query, 2)):
    if name not in found:
      raise UserError(f'the checkpoint {path} lacks {name}; copy it again')
    if len(found[name].shape) != rank:
      raise UserError(
        f'{name} of the checkpoint {path} has the shape {found[name].shape}, '
        f'but must have {rank} dimensions'
      )
  vocab_size, width = found[_EMBEDDING].shape
  num_heads, buckets = found[_RELATIVE].shape
  inner = found[query].shape[1]
  if inner % num_heads:
    raise UserError(
      f'the checkpoint {path} has {num_heads} heads, which do not divide '
      f'{inner}, the width of its attention'
    )
  return TextConfig(
    vocab_size=vocab_size,
    width=width,
    num_layers=max(layers) + 1,
    num_heads=num_heads,
    head_dim=inner // num_heads,
    mlp_dim=found[hidden].shape[1],
    activation='relu' if is_relu else 'gated_gelu',
    max_length=max_length,
    relative_buckets=buckets,
  )


def _config(
  tensors: Tensors, found: Mapping[str, Tensor], max_length: int
) -> TextConfig:
  config = infer_config(found, path=tensors.path, max_length=max_length)
  if tensors.is_t5x:
    return config
  reach = _max_distance(tensors.path)
  return dataclasses.replace(config, relative_max_distance=reach)


def _reader(tensor: Tensor, dtype: DTypeLike) -> Callable[[Any], np.ndarray]:
  return lambda index: tensor.read(index).astype(dtype)


def _max_distance(path: epath.Path) -> int:
  """Check the config.json of Hugging Face, if there is one.

  Returns:
    The distance from which all relative positions share a bucket.

  Raises:
    UserError: the encoder computes something else than T5.
  """
  file = (path if path.is_dir() else path.parent) / 'config.json'
  if not file.is_file():
    return TextConfig().relative_max_distance
  values = json.loads(file.read_text())
  for name, allowed in (
    ('model_type', ('t5',)),
    ('feed_forward_proj', ('relu', 'gated-gelu')),
    ('layer_norm_epsilon', (1e-6,)),
  ):
    if values.get(name, allowed[0]) not in allowed:
      raise UserError(
        f'{file}: {name} is {values[name]!r}; this version reads encoders with '
        + ' or '.join(repr(value) for value in allowed)
      )
  default = TextConfig().relative_max_distance
  return int(values.get('relative_attention_max_distance', default))


def _compare(
  found: Mapping[str, Tensor], expected: Mapping[str, Any], path: epath.PathLike
) -> None:
  """Raise a UserError unless the tensors are exactly the parameters."""
  wrong = [
    f'{name} is {found[name].shape if name in found else "missing"} and should '
    f'be {expected[name].shape if name in expected else "absent"}'
    for name in sorted(found.keys() | expected.keys())
    if name not in found
    or name not in expected
    or found[name].shape != expected[name].shape
  ]
  if wrong:
    more = f', and {len(wrong) - 2} more' if len(wrong) > 2 else ''
    raise UserError(
      f'the checkpoint {path} is not a T5 encoder: {"; ".join(wrong[:2])}'
      f'{more}; name another checkpoint, or copy it again'
    )


def _t5x_name(source: str) -> tuple[str, bool, str]:
  """Return the parameter of a tensor, or what else it belongs to."""
  if not source.startswith('target/'):
    top = source.split('/')[0]
    return '', False, 'optimizer' if top in ('state', 'optimizer') else top
  name = source.removeprefix('target/')
  if name.startswith('decoder/'):
    return '', False, 'decoder'
  return name, False, ''


def _hugging_face_name(source: str) -> tuple[str, bool, str]:
  if source in _TOP:
    return *_TOP[source], ''
  if source.startswith(('decoder.', 'lm_head.')):
    return '', False, 'decoder'
  match = re.fullmatch(r'encoder\.block\.(\d+)\.(.+)\.weight', source)
  if match and match[2] in _BLOCK:
    name, is_transposed = _BLOCK[match[2]]
    return f'encoder/layers_{match[1]}/{name}', is_transposed, ''
  if match and 'relative_attention_bias' in match[2]:
    return f'encoder/layers_{match[1]}/relpos_bias/rel_embedding', True, ''
  return source, False, ''
