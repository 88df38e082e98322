"""What the generator learns: to fill in hidden tokens, given text.

The frozen tokenizer turns pixels into tokens inside the step. Clips are rows
of the token grid; images are packed, as many to a row as a clip has latent
steps, each a segment of its own with its own text, so that images and clips
share one compiled forward and no image is padded to a clip's length.
"""

import dataclasses
from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.masked_transformer.masking import hide, prefix_mask
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.masked_transformer.schedules import check_schedule
from phenaki_jax.pixels import normalise
from phenaki_jax.rng import stream
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import Gradients, Task
from phenaki_jax.training.tokenizer_task import TokenizerTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTaskConfig:
  """Say how the generator is trained.

  Attributes:
    text_dropout: share of the captions replaced by the empty one, for
      guidance (paper: 0.1).
    prediction_share: share of the clips without context frames of their own
      that are continued from a known prefix all the same.
    prediction_frames: frames of that prefix, 1 + k * tubelet (paper: 5).
    schedule: distribution of the share of hidden tokens.
    label_smoothing: share of the target spread over all codes.
  """

  text_dropout: float = 0.1
  prediction_share: float = 0.1
  prediction_frames: int = 5
  schedule: str = 'cosine'
  label_smoothing: float = 0.0

  def __post_init__(self) -> None:
    """Check what no run could work with."""
    for name in ('text_dropout', 'prediction_share', 'label_smoothing'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(
          f'{name} is {getattr(self, name)}; it is a share, 0 to 1.'
        )
    if self.prediction_frames < 1:
      raise UserError(
        f'prediction_frames is {self.prediction_frames}; use 1 or more.'
      )
    check_schedule(self.schedule)


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class Rows:
  """Token rows of clips and packed images.

  Attributes:
    ids: true tokens.
    hidden: tokens the model must guess.
    segments: segment of each latent step, -1 where the step is empty.
    moments: where in a clip each latent step stands.
    texts: caption ids of each segment.
    is_clip: True at rows that hold a clip.
    num_clips: how many rows, the first ones, hold a clip and so one text.
  """

  ids: Int[Array, 'R t h w']
  hidden: Bool[Array, 'R t h w']
  segments: Int[Array, 'R t']
  moments: Int[Array, 'R t']
  texts: Int[Array, 'R S L']
  is_clip: Bool[Array, 'R']
  num_clips: int = flax.struct.field(pytree_node=False)


def pack_images(values: Array, steps: int, *, fill: int) -> Array:
  """Pack one entry per image into rows of `steps`, the last one filled up.

  Args:
    values: [images, ...] entries.
    steps: entries of a row.
    fill: value of the places left over.

  Returns:
    [rows, steps, ...] entries, rows = ceil(images / steps).
  """
  rows = -(-values.shape[0] // steps)
  room = rows * steps - values.shape[0]
  padding = [(0, room)] + [(0, 0)] * (values.ndim - 1)
  values = jnp.pad(values, padding, constant_values=fill)
  return values.reshape(rows, steps, *values.shape[1:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTask(Task):
  """Train the masked transformer and its text encoder.

  Attributes:
    config: the masked transformer's shape.
    text: the text encoder's shape.
    tokenizer: the frozen tokenizer's shape.
    tokenizer_params: its parameters.
    training: how examples are made of clips and images.
  """

  config: GeneratorConfig
  text: TextConfig
  tokenizer: TokenizerConfig
  tokenizer_params: Any
  training: GeneratorTaskConfig = GeneratorTaskConfig()

  @property
  def frozen(self) -> Any:
    """Return the arrays that the step reads and never changes."""
    return self.tokenizer_params

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters of both networks, boxed with logical names."""
    rng_text, rng_generator = jax.random.split(rng)
    captions = jnp.ones((1, 1, self.text.max_length), jnp.int32)
    encoder = T5Encoder(self.text)
    text, variables = encoder.init_with_output(rng_text, captions)
    ids = jnp.zeros((1, *self.config.grid), jnp.int32)
    generator = MaskedTransformer(self.config).init(
      rng_generator, ids, text, captions > 0
    )
    return {
      'text': variables['params'],
      'generator': generator['params'],
    }

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create parameters of the tokenizer, boxed with logical names."""
    return TokenizerTask(config=self.tokenizer).init(rng)

  def _clip_rows(
    self, frozen: Any, part: dict[str, Any], rng: PRNGKeyArray
  ) -> Rows:
    """Tokenize clips and choose what to hide of each."""
    ids = self._encode(frozen, normalise(part['pixels']))
    batch, t, h, w = ids.shape
    grid = (t, h, w)
    tubelet = self.tokenizer.tubelet
    training = self.training
    steps = 1 + (part['num_frames'] - 1) // tubelet
    context = part['context_frames']
    # A known prefix is 1 + k * tubelet frames: what the context completes.
    known = jnp.where(context > 0, 1 + (context - 1) // tubelet, 0)
    continued = jax.random.bernoulli(
      stream(rng, 'prediction'), training.prediction_share, (batch,)
    )
    prefix = 1 + (training.prediction_frames - 1) // tubelet
    known = jnp.where((known == 0) & continued, prefix, known)
    known = jnp.minimum(known, steps - 1)
    maskable = prefix_mask(steps, grid) & ~prefix_mask(known, grid)
    hidden = hide(
      stream(rng, 'hide_clips'),
      maskable=maskable,
      schedule=training.schedule,
    )
    real = jnp.arange(t)[None, :] < steps[:, None]
    return Rows(
      ids=ids,
      hidden=hidden.reshape(ids.shape),
      segments=jnp.where(real, 0, -1),
      moments=jnp.broadcast_to(jnp.arange(t), (batch, t)),
      texts=part['text'][:, None],
      is_clip=jnp.ones(batch, bool),
      num_clips=batch,
    )

  def _image_rows(
    self, frozen: Any, part: dict[str, Any], rng: PRNGKeyArray
  ) -> Rows:
    """Tokenize images, hide tokens of each, and pack them into rows."""
    ids = self._encode(frozen, normalise(part['pixels'])[:, None])
    images, _, h, w = ids.shape
    steps = self.config.grid[0]
    hidden = hide(
      stream(rng, 'hide_images'),
      maskable=jnp.ones((images, h * w), bool),
      schedule=self.training.schedule,
    ).reshape(images, h, w)
    number = jnp.arange(images, dtype=jnp.int32) % steps
    moments = jnp.zeros(images, jnp.int32)
    if self.tokenizer.first_frame == 'repeated':
      # An image has tokens that a clip may have at any step; shown at every
      # one, what it teaches is not taken for a matter of first steps alone.
      moments = jax.random.randint(
        stream(rng, 'moments'), (images,), 0, steps, jnp.int32
      )
    return Rows(
      ids=pack_images(ids[:, 0], steps, fill=0),
      hidden=pack_images(hidden, steps, fill=0),
      segments=pack_images(number, steps, fill=-1),
      moments=pack_images(moments, steps, fill=0),
      texts=pack_images(part['text'], steps, fill=0),
      is_clip=jnp.zeros(-(-images // steps), bool),
      num_clips=0,
    )

  def _encode(
    self, params: Any, pixels: Float[Array, 'B T H W C']
  ) -> Int[Array, 'B t h w']:
    ids = CViViT(self.tokenizer).apply(
      {'params': params}, pixels, method='encode'
    )
    return jax.lax.stop_gradient(ids)

  def _encode_texts(
    self,
    params: Any,
    texts: Int[Array, 'R S L'],
    num_clips: int,
    **options: Any,
  ) -> Float[Array, 'R S L E']:
    """Encode the texts of all segments, of clips only the one they have."""
    rows, segments, length = texts.shape
    packed = texts[num_clips:].reshape(-1, length)
    vectors = T5Encoder(self.text).apply(
      {'params': params},
      jnp.concatenate([texts[:num_clips, 0], packed]),
      **options,
    )
    of_clips = jnp.pad(
      vectors[:num_clips, None], ((0, 0), (0, segments - 1), (0, 0), (0, 0))
    )
    shape = (rows - num_clips, segments, length, vectors.shape[-1])
    return jnp.concatenate([of_clips, vectors[num_clips:].reshape(shape)])

  def rows(self, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray) -> Rows:
    """Make the rows of a batch: clips first, then packed images."""
    parts = []
    if 'clips' in batch:
      parts.append(self._clip_rows(frozen, batch['clips'], rng))
    if 'images' in batch:
      parts.append(self._image_rows(frozen, batch['images'], rng))
    segments = max(rows.texts.shape[1] for rows in parts)
    num_clips = sum(rows.num_clips for rows in parts)
    parts = [
      dataclasses.replace(
        rows,
        num_clips=num_clips,
        texts=jnp.pad(
          rows.texts,
          ((0, 0), (0, segments - rows.texts.shape[1]), (0, 0)),
        ),
      )
      for rows in parts
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

  def logits(
    self,
    params: Any,
    rows: Rows,
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens of rows from the shown ones and the captions."""
    texts = rows.texts
    if not deterministic and self.training.text_dropout:
      dropped = jax.random.bernoulli(
        stream(rng, 'drop_text'),
        self.training.text_dropout,
        texts.shape[:2],
      )
      # The empty caption is its end mark alone (id 1).
      empty = jnp.zeros_like(texts).at[..., 0].set(1)
      texts = jnp.where(dropped[..., None], empty, texts)
    vectors = self._encode_texts(
      params['text'],
      texts,
      rows.num_clips,
      deterministic=deterministic,
      rngs={'dropout': stream(rng, 'dropout')},
    )
    shown = jnp.where(rows.hidden, self.config.codebook_size, rows.ids)
    return MaskedTransformer(self.config).apply(
      {'params': params['generator']},
      shown,
      vectors,
      texts > 0,
      rows.segments,
      rows.moments,
    )

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the masked-token loss of a batch and its metrics.

    Args:
      params: parameters of 'text' and 'generator'.
      frozen: the tokenizer's parameters.
      batch: see `data.schema`.
      rng: key of this step; masks, dropped texts and prefixes come from it.
      deterministic: keep all texts and switch dropout off.
    """
    rows = self.rows(frozen, batch, rng)
    logits = self.logits(params, rows, rng, deterministic=deterministic)
    smoothing = 0.0 if deterministic else self.training.label_smoothing
    result = token_loss(
      logits, rows.ids, rows.hidden, label_smoothing=smoothing
    )
    count = jnp.maximum(result.count, 1.0)
    metrics = {
      'loss': Mean(result.total, count),
      'accuracy': Mean(result.correct, count),
    }
    if 'clips' in batch and 'images' in batch:
      for name, chosen in (('clips', rows.is_clip), ('images', ~rows.is_clip)):
        hidden = rows.hidden & chosen[:, None, None, None]
        part = token_loss(logits, rows.ids, hidden)
        metrics[f'loss_{name}'] = Mean(part.total, part.count)
    return result.total / count, jax.lax.stop_gradient(metrics)

  def gradients(
    self, params: Any, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray
  ) -> Gradients:
    """Differentiate the loss."""
    grad = jax.grad(self.loss, has_aux=True)
    grads, metrics = grad(params, frozen, batch, rng)
    return Gradients(grads=grads, metrics=metrics)

  def evaluate(
    self, params: Any, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray
  ) -> dict[str, Mean]:
    """Compute the metrics of a held-out batch, with all texts."""
    return self.loss(params, frozen, batch, rng, deterministic=True)[1]
