"""Train the generator to predict hidden tokens, given text.

The frozen tokenizer turns pixels into tokens inside the step, unless the batch
holds tokens from a cache. A frozen text encoder encodes the captions inside the
step, unless the batch holds their vectors.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from phenaki_jax.generator import EncodedTexts, Generator, empty_texts
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.masked_transformer.masking import hide, prefix_mask
from phenaki_jax.masked_transformer.tasks import Clips, known_tokens
from phenaki_jax.pixels import normalise
from phenaki_jax.rng import stream
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.context_noise import with_noise
from phenaki_jax.training.critic_loss import critic_loss
from phenaki_jax.training.generator_conditions import (
  prepared,
  switches_of_images,
  tell,
)
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.history import tokenized as with_history
from phenaki_jax.training.metrics import Mean, Metrics
from phenaki_jax.training.micro_batches import Divided, Each
from phenaki_jax.training.midway import cut_windows
from phenaki_jax.training.reencoding import encode_again, encode_pixels
from phenaki_jax.training.rows import (
  Layout,
  Rows,
  clip_rows,
  image_rows,
  join_rows,
  texts_of,
)
from phenaki_jax.training.state import Role, Task
from phenaki_jax.training.tokenizer_task import TokenizerTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTask(Task):
  """Train the masked transformer and its text encoder.

  Attributes:
    config: settings of the masked transformer.
    text: settings of the text encoder.
    tokenizer: settings of the frozen tokenizer.
    tokenizer_params: its parameters; only shapes are described without them.
    text_params: parameters of a frozen text encoder that encodes the captions
      in the step.
    training: how training examples are made.
    layout: the rows of every batch, whose parts may end with padding; None:
      no padding, and one group of rows.
    fps: frames per second of the clips.
    is_padded: whether the layout has the numbers of clips and images of every
      batch. If not, batches have several shapes, and no padding.
    given: parameters that a new run starts from, by network.
  """

  config: GeneratorConfig
  text: TextConfig
  tokenizer: TokenizerConfig
  tokenizer_params: Any
  text_params: Any = None
  training: GeneratorTaskConfig = GeneratorTaskConfig()
  layout: Layout | None = None
  fps: float = 0.0
  is_padded: bool = True
  # No part of the hash: a task is a static argument of compiled functions.
  given: Mapping[str, Any] = dataclasses.field(
    default_factory=dict, hash=False, compare=False
  )

  @property
  def roles(self) -> dict[str, Role]:  # type: ignore[override]
    """Return the networks that are not trained."""
    trained = self.training.trained
    if trained == 'all':
      return {}
    added = {
      'critic': self.config.critic != 'none',
      'words': self.text.words,
      'prompt': self.config.prompt,
    }
    names = ('text', 'generator', *(name for name in added if added[name]))
    return {name: Role(kind='fixed') for name in names if name != trained}

  @property
  def frozen(self) -> Any:
    """Return the tokenizer's parameters, with those of 'text' if frozen."""
    if not self.text.encodes_in_step:
      return self.tokenizer_params
    return {**self.tokenizer_params, 'text': self.text_params}

  @property
  def generator(self) -> Generator:
    """Return the networks that are trained."""
    return Generator(config=self.config, text=self.text)

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters of all networks, boxed with logical names."""
    return self.generator.init(rng)

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create what `frozen` returns, boxed with logical names."""
    params = TokenizerTask(config=self.tokenizer).init(rng)
    if not self.text.encodes_in_step:
      return params
    ids = jnp.ones((1, self.text.max_length), jnp.int32)
    return {**params, 'text': T5Encoder(self.text).init(rng, ids)['params']}

  def rows(
    self,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    part: float | Float[Array, ''] | None = None,
  ) -> Rows:
    """Tokenize a batch, choose the hidden tokens, and make its rows.

    `part` makes the shares of hidden tokens evenly spaced, see `hide`.
    """
    groups = self.layout.groups if self.layout else 1
    batch = self._prepared(batch, rng)
    return self._rows(self.tokenized(frozen, batch), rng, part, groups)

  def _prepared(
    self, batch: dict[str, Any], rng: PRNGKeyArray
  ) -> dict[str, Any]:
    """Draw what is drawn of a batch before it is tokenized."""
    tubelet = self.tokenizer.tubelet
    return prepared(batch, self.training, rng, tubelet=tubelet)

  def _rows(
    self, batch: dict[str, Any], rng: PRNGKeyArray, part: Any, groups: int
  ) -> Rows:
    """Choose the hidden tokens of a batch of tokens, and make its rows."""
    counts = self.num_examples(batch)
    batch = {
      part: {name: array[: counts[part]] for name, array in arrays.items()}
      for part, arrays in batch.items()
    }
    # Packed images take rows of the length of clips.
    length = self.config.grid[0]
    if 'clips' in batch:
      if share := self.training.midway_share:
        size = {'length': length, 'tubelet': self.tokenizer.tubelet}
        batch['clips'] = cut_windows(batch['clips'], rng, share=share, **size)
      length = batch['clips']['tokens'].shape[1]
    make: dict[str, Callable[..., Rows]] = {
      'clips': self._clip_rows,
      'images': functools.partial(self._image_rows, length=length),
    }
    rows = [
      make[name](batch[name], rng, part) for name in make if name in batch
    ]
    return join_rows(*rows, groups=groups)

  def divided(
    self,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    parts: int,
    ways: int,
    each: Each,
  ) -> Divided:
    """Make the rows of a batch, and divide them into micro-batches.

    See `micro_batches.Divisible`.
    """
    batch = self._prepared(batch, rng)
    batch = each(lambda some: self.tokenized(frozen, some), batch)
    rows = self._dropped(self._rows(batch, rng, None, parts * ways), rng)
    totals = {'hidden': jnp.sum(rows.hidden, dtype=jnp.float32)}
    totals['weights'] = totals['hidden']
    if self.training.balance == 'examples':
      totals['weights'] = jnp.sum(rows.weights * rows.hidden)
    return Divided(parts=rows.divided(parts), totals=totals)

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: Rows,
    rng: PRNGKeyArray,
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and the metrics."""
    del frozen
    return self._loss(params, part, rng, totals=totals)

  def num_examples(self, batch: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of examples of each part, without its padding."""
    if self.layout is None or not self.is_padded:
      return super().num_examples(batch)
    counts = (
      ('clips', self.layout.num_clips),
      ('images', self.layout.num_images),
    )
    return {part: count for part, count in counts if count}

  def tokenized(self, frozen: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Replace pixels by tokens, as `data/spec.py` has them.

    A frozen text encoder adds the vectors of the captions. Clips keep their
    pixels for a canvas, and source and content become tokens too.
    """
    encode = functools.partial(encode_pixels, self.tokenizer, frozen)

    def encode_texts(ids: Array) -> Array:
      return self.generator.encode(frozen, ids).vectors

    parts, in_step = {}, self.text.encodes_in_step
    for name, part in batch.items():
      arrays = with_history(part, encode, encode_texts if in_step else None)
      if in_step and 'text' in part:
        arrays['text_vectors'] = encode_texts(part['text'])
      if 'pixels' in part:
        pixels = normalise(arrays.pop('pixels'))
        if name == 'images':
          arrays['tokens'] = encode(pixels[:, None])[:, 0]
        else:
          ids = arrays['tokens'] = encode(pixels)
          if self.training.uses_canvas:
            arrays['pixels'] = part['pixels']
          for role in self.training.frame_shares:
            frame = normalise(arrays.pop(f'{role}_pixels'))
            arrays[role] = encode(frame[:, None])[:, 0]
          if self.uses_reencoded:
            known = self._context(part['context_frames'])
            arrays['reencoded'] = encode_again(
              self.tokenizer, frozen, ids, context=known
            )
      parts[name] = arrays
    return parts

  @property
  def uses_reencoded(self) -> bool:
    """Return whether some clips have tokens of decoded context frames."""
    return self.training.reencoded_context > 0 and self.config.grid[0] > 1

  def _clip_rows(
    self, clips: dict[str, Any], rng: PRNGKeyArray, part: Any
  ) -> Rows:
    ids = clips['tokens']
    batch, t, h, w = ids.shape
    grid = (t, h, w)
    training = self.training
    num_latent = self._latent(clips['num_frames'])
    known = self._context(clips['context_frames'])
    if self.uses_reencoded:
      chosen = jax.random.bernoulli(
        stream(rng, 'reencoded'), training.reencoded_context, (batch, 1, 1, 1)
      )
      ids = jnp.where(chosen, clips['reencoded'], ids)
    of_clips = Clips(
      key=stream(rng, 'prediction'),
      grid=grid,
      num_latent=num_latent,
      prefix=self._latent(training.prediction_frames),
    )
    of_context = prefix_mask(jnp.minimum(known, num_latent - 1), grid)
    told = tell(
      clips,
      rng,
      of_clips=of_clips,
      of_task=known_tokens(of_clips, training.task_shares),
      of_context=of_context,
      training=training,
      scalars=self.config.ports.scalars,
      tubelet=self.tokenizer.tubelet,
      fps=self.fps,
    )
    if training.context_noise and part is None:  # In training alone.
      context = (of_context & (known > 0)[:, None]).reshape(ids.shape)
      noise, size = training.context_noise, self.config.codebook_size
      key = stream(rng, 'context_noise')
      ids = with_noise(key, ids, context, most=noise, codebook_size=size)
    hidden = hide(
      stream(rng, 'hide_clips'),
      maskable=prefix_mask(num_latent, grid) & ~told.tokens,
      schedule=training.schedule,
      part=part,
    ).reshape(ids.shape)
    return clip_rows(ids, hidden, num_latent, texts_of(clips), told.conditions)

  def _image_rows(
    self, images: dict[str, Any], rng: PRNGKeyArray, part: Any, *, length: int
  ) -> Rows:
    ids = images['tokens']
    count = ids.shape[0]
    hidden = hide(
      stream(rng, 'hide_images'),
      maskable=jnp.ones((count, ids[0].size), bool),
      schedule=self.training.schedule,
      part=part,
    )
    frames_at = jnp.zeros(count, jnp.int32)
    if self.tokenizer.first_frame == 'repeated':
      # The tokens of an image occur at any latent frame of a clip. Images at
      # all indices teach the model their content for all latent frames.
      # (The name of the stream is a seed; another name changes the draws.)
      key = stream(rng, 'moments')
      frames_at = jax.random.randint(key, (count,), 0, length, jnp.int32)
    return image_rows(
      ids,
      hidden.reshape(ids.shape),
      frames_at,
      texts_of(images),
      length=length,
      over_time=switches_of_images(self.training, rng, count),
    )

  def _latent(self, frames: Any) -> Any:
    """Return how many latent frames hold 1 + k * tubelet frames."""
    return 1 + (frames - 1) // self.tokenizer.tubelet

  def _context(self, frames: Int[Array, 'B']) -> Int[Array, 'B']:
    """Return how many latent frames hold the context frames."""
    return jnp.where(frames > 0, self._latent(frames), 0)

  def logits(
    self,
    params: Any,
    rows: Rows,
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens of rows from the known tokens and the captions."""
    if not deterministic:
      rows = self._dropped(rows, rng)
    texts = self._encoded(params, rows, rng, deterministic=deterministic)
    return self._logits(params, rows, texts, rng, deterministic=deterministic)

  def _dropped(self, rows: Rows, rng: PRNGKeyArray) -> Rows:
    """Replace a share of the captions by the empty one."""
    if not self.training.text_dropout:
      return rows
    dropped = jax.random.bernoulli(
      stream(rng, 'drop_text'), self.training.text_dropout, (rows.num_texts,)
    )
    texts = jax.tree.map(
      lambda empty, text: jnp.where(
        dropped.reshape(-1, *[1] * (text.ndim - 1)), empty, text
      ),
      empty_texts(rows.texts),
      rows.texts,
    )
    return dataclasses.replace(rows, texts=texts)

  def _encoded(
    self, params: Any, rows: Rows, rng: PRNGKeyArray, *, deterministic: bool
  ) -> EncodedTexts:
    """Encode the captions, in the order in which the networks read them."""
    dropout = None if deterministic else stream(rng, 'dropout')
    encoded = self.generator.encode(params, rows.texts, dropout)
    # In the dtype of the computation, which makes them smaller to exchange.
    dtype = jnp.dtype(self.config.dtype)
    return rows.arranged(
      EncodedTexts(vectors=encoded.vectors.astype(dtype), mask=encoded.mask)
    )

  def _logits(
    self,
    params: Any,
    rows: Rows,
    texts: EncodedTexts,
    rng: PRNGKeyArray,
    *,
    deterministic: bool,
  ) -> Float[Array, 'R t h w V']:
    is_dropping = self.config.dropout > 0 and not deterministic
    return self.generator.logits(
      params,
      jnp.where(rows.hidden, self.config.codebook_size, rows.ids),
      texts,
      stream(rng, 'dropout_tokens') if is_dropping else None,
      **rows.places,
    )

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
    part: float | Float[Array, ''] | None = None,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the masked-token loss of a batch and its metrics.

    All metrics of the tokens are means over hidden tokens, also if examples
    have equal weight in what is minimised.

    Args:
      params: the parameters.
      frozen: see `frozen`.
      batch: see `data.spec`.
      rng: key of all random draws.
      deterministic: no dropout and no dropped texts.
      part: see `rows`.
    """
    rows = self.rows(frozen, batch, rng, part)
    if not deterministic:
      rows = self._dropped(rows, rng)
    return self._loss(params, rows, rng, deterministic=deterministic)

  def _loss(
    self,
    params: Any,
    rows: Rows,
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
    totals: Mapping[str, Array] | None = None,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of rows, or of a micro-batch if `totals` are given."""
    params = self.held(params)
    texts = self._encoded(params, rows, rng, deterministic=deterministic)
    logits = self._logits(params, rows, texts, rng, deterministic=deterministic)
    plain = token_loss(logits, rows.ids, rows.hidden)
    count = jnp.maximum(plain.count, 1.0)
    metrics = {
      'loss': Mean(plain.total, count),
      'accuracy': Mean(plain.correct, count),
    }
    if rows.layout.num_clips and rows.layout.num_images:
      for name, chosen in (('clips', rows.is_clip), ('images', ~rows.is_clip)):
        hidden = rows.hidden & chosen[:, None, None, None]
        one = token_loss(logits, rows.ids, hidden)
        metrics[f'loss_{name}'] = Mean(one.total, one.count)
    result = token_loss(
      logits,
      rows.ids,
      rows.hidden,
      weights=rows.weights if self.training.balance == 'examples' else None,
    )
    totals = totals or {'hidden': plain.count, 'weights': result.count}
    total = result.total / jnp.maximum(totals['weights'], 1.0)
    if self.config.critic != 'none' and 'critic' not in self.fixed:
      found = critic_loss(
        self.generator,
        params,
        rows,
        texts,
        logits,
        stream(rng, 'critic'),
        count=totals['hidden'],
      )
      metrics |= found.metrics
      if self.training.trained == 'critic':
        total = jnp.zeros(())
      total = total + self.training.critic_weight * found.loss
    return total, jax.lax.stop_gradient(metrics)

  def evaluate(
    self,
    params: Any,
    frozen: Any,
    batch: Any,
    rng: PRNGKeyArray,
    *,
    part: float | Float[Array, ''] = 0.5,
  ) -> Metrics:
    """Compute the metrics of a held-out batch, without dropout.

    Args:
      params: the parameters.
      frozen: see `frozen`.
      batch: see `data.spec`.
      rng: key of all random draws, another for each batch.
      part: place of the batch among the held-out ones, in (0, 1), so that the
        shares of hidden tokens are evenly spaced over all of them.
    """
    return self.loss(params, frozen, batch, rng, deterministic=True, part=part)[
      1
    ]
