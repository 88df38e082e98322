"""What a network reads beside its input and its texts: the data of its ports.

`Conditions` is all of it, for every network, and each part may be absent. The
modules that read them are in `nn.ports`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from phenaki_jax.nn.config import PortsConfig

ABSENT = -1.0
"""The value of a scalar that a sample does not have."""
# Roles of the memory that guidance moves towards.
_GUIDED_ROLES = ('content', 'history')


# No type checks: JAX also builds them around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Canvas:
  """Pixels that are known, in the place and at the time of the result.

  Attributes:
    rgb: the pixels; those that are not known are never read.
    known: True at known pixels.
    depth: relative inverse depth, 0 to 1, near is large.
    has_depth: True at pixels whose depth is known; needed with `depth`.
  """

  rgb: UInt8[Array, 'B T H W 3']
  known: Bool[Array, 'B T H W']
  depth: Float[Array, 'B T H W'] | None = None
  has_depth: Bool[Array, 'B T H W'] | None = None


@no_type_check
@flax.struct.dataclass
class Entries:
  """Images, or vectors, of one role in the memory.

  Attributes:
    values: token ids of images, which the network looks up in its own tables;
      or vectors of the network's width.
    slots: which of the images of its role each one is, from 0.
    visible: True where a latent frame may read an image, with its caption.
    captions: caption of each image, as token ids with 0 as padding, which
      `Generator.remember` encodes; or as vectors. None: there are none.
    spoken: True at vectors of captions that are not padding.
  """

  values: Int[Array, 'B images n'] | Float[Array, 'B images n D']
  slots: Int[Array, 'B images']
  visible: Bool[Array, 'B t images']
  captions: Int[Array, 'B images L'] | Float[Array, 'B images L E'] | None = (
    None
  )
  spoken: Bool[Array, 'B images L'] | None = None


@no_type_check
@flax.struct.dataclass
class Conditions:
  """The conditions of the rows of a batch.

  Attributes:
    canvas: known pixels.
    memory: entries by role.
    scalars: numbers by name, Float[B], at least 0, or `ABSENT`.
    over_time: True at latent frames that the layers over time act on, where
      they are layers of their own; None: all. It is the same at all latent
      frames of a clip.
  """

  canvas: Canvas | None = None
  memory: dict[str, Entries] = flax.struct.field(default_factory=dict)
  scalars: dict[str, Float[Array, 'B']] = flax.struct.field(
    default_factory=dict
  )
  over_time: Bool[Array, 'B t'] | None = None


def blank(
  ports: PortsConfig,
  grid: tuple[int, int, int],
  *,
  batch: int = 1,
  text_width: int = 0,
  image_width: int = 0,
) -> Conditions | None:
  """Return conditions that tell nothing, of every port; None without ports.

  Args:
    ports: the ports of a network.
    grid: latent frames, rows and columns.
    batch: number of rows.
    text_width: width of the vectors of captions; 0 for a network without text.
    image_width: width of the vectors of images; 0 if they are token ids.
  """
  t, h, w = grid
  canvas = None
  if ports.canvas:
    assert ports.patch, 'the patch of the canvas is that of the tokenizer'
    frames = 1 + (t - 1) * ports.patch[0]
    shape = (batch, frames, h * ports.patch[1], w * ports.patch[2])
    canvas = Canvas(
      rgb=jnp.zeros((*shape, 3), jnp.uint8), known=jnp.zeros(shape, bool)
    )
  entries = Entries(
    values=jnp.zeros((batch, 1, h * w, image_width))
    if image_width
    else jnp.zeros((batch, 1, h * w), jnp.int32),
    slots=jnp.zeros((batch, 1), jnp.int32),
    visible=jnp.zeros((batch, t, 1), bool),
  )
  if not ports.is_used:
    return None
  memory: dict[str, Entries] = dict.fromkeys(ports.memory, entries)
  if 'history' in memory and text_width:
    memory['history'] = dataclasses.replace(
      entries,
      captions=jnp.zeros((batch, 1, 1, text_width)),
      spoken=jnp.zeros((batch, 1, 1), bool),
    )
  return Conditions(
    canvas=canvas,
    memory=memory,
    scalars={name: jnp.full(batch, ABSENT) for name in ports.scalars},
  )


def as_values(
  images: Int[Array, '*lead h w'] | Float[Array, '*lead n D'], *lead: int
) -> Array:
  """Return images as the values of entries: ids in a row, or vectors.

  Args:
    images: token ids of images, or vectors of each.
    *lead: the leading axes of the result.
  """
  if jnp.issubdtype(images.dtype, jnp.integer):
    return images.reshape(*lead, -1)
  return images.reshape(*lead, *images.shape[-2:])


def earlier(
  frames: Int[Array, 'B t'], slots: Int[Array, 'B images']
) -> Bool[Array, 'B t images']:
  """Return which images of a history each frame may read: those before it.

  Slot j holds frame j of a story, which frame l reads only if j < l: the strict
  lower triangle of AR-LDM (arXiv 2211.10950, section 3.2).

  Args:
    frames: number of each frame in its story, from 0.
    slots: number of each image in that story.
  """
  return slots[:, None, :] < frames[:, :, None]


def unconditional(conditions: Conditions) -> Conditions:
  """Hide what guidance moves towards besides the text.

  These are the content (Gen-1, arXiv 2302.03011, section 3.3), and the history
  (the released code of AR-LDM, arXiv 2211.10950, drops it with the caption).
  """
  hidden = {
    role: dataclasses.replace(entries, visible=jnp.zeros_like(entries.visible))
    for role, entries in conditions.memory.items()
    if role in _GUIDED_ROLES
  }
  return dataclasses.replace(conditions, memory=conditions.memory | hidden)


def join(
  parts: Sequence[Conditions | None], counts: Sequence[int]
) -> Conditions | None:
  """Join the conditions of groups of rows; what a group lacks is absent there.

  Args:
    parts: the conditions of each group.
    counts: number of rows of each group.

  Returns:
    None if no group has conditions.
  """
  given = [part or Conditions() for part in parts]
  if not any(part is not None for part in parts):
    return None

  def joined(found: Sequence[Any], fill: Any) -> Any:
    """Join one array, or a tree of arrays, of all groups."""
    template = next(one for one in found if one is not None)
    filled = [
      jax.tree.map(
        lambda x, rows=rows: jnp.full((rows, *x.shape[1:]), fill, x.dtype),
        template,
      )
      if one is None
      else one
      for one, rows in zip(found, counts, strict=True)
    ]
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *filled)

  def field(name: str, fill: Any) -> Any:
    found = [getattr(part, name) for part in given]
    return joined(found, fill) if any(x is not None for x in found) else None

  def entries(name: str, fill: Any) -> dict[str, Any]:
    found = [getattr(part, name) for part in given]
    keys = dict.fromkeys(key for each in found for key in each)
    return {key: joined([x.get(key) for x in found], fill) for key in keys}

  return Conditions(
    canvas=field('canvas', 0),
    memory=entries('memory', 0),
    scalars=entries('scalars', ABSENT),
    over_time=field('over_time', True),
  )
