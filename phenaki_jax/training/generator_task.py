"""Train the generator to predict hidden tokens, given text.

The frozen tokenizer turns pixels into tokens inside the step, unless the batch
holds tokens from a cache.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from pydantic import PositiveInt

from phenaki_jax.config import Share, validated
from phenaki_jax.generator import Generator, empty_texts
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.masked_transformer.masking import hide, prefix_mask
from phenaki_jax.masked_transformer.schedules import Schedule
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.rng import stream
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.rows import Rows, clip_rows, image_rows, join_rows
from phenaki_jax.training.state import Task
from phenaki_jax.training.tokenizer_task import TokenizerTask


@validated
class GeneratorTaskConfig:
  """How the generator's training examples are made.

  Attributes:
    text_dropout: share of the captions replaced by the empty caption, for
      guidance (paper: 0.1).
    prediction_share: share of the clips without context frames for which a
      prefix is known instead.
    prediction_frames: frames of that prefix, 1 + k * tubelet (paper: 5).
    reencoded_context: share of the clips with context frames whose context
      has the tokens that the sampler sees: those of the context frames after
      the tokenizer encoded and decoded them.
    schedule: distribution of the share of hidden tokens.
    label_smoothing: share of the target spread over all token ids.
  """

  text_dropout: Share = 0.1
  prediction_share: Share = 0.1
  prediction_frames: PositiveInt = 5
  reencoded_context: Share = 0.0
  schedule: Schedule = 'cosine'
  label_smoothing: Share = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorTask(Task):
  """Train the masked transformer and its text encoder.

  Attributes:
    config: settings of the masked transformer.
    text: settings of the text encoder.
    tokenizer: settings of the frozen tokenizer.
    tokenizer_params: its parameters; only shapes are described without them.
    training: how training examples are made.
  """

  config: GeneratorConfig
  text: TextConfig
  tokenizer: TokenizerConfig
  tokenizer_params: Any
  training: GeneratorTaskConfig = GeneratorTaskConfig()

  @property
  def frozen(self) -> Any:
    """Return the tokenizer's parameters."""
    return self.tokenizer_params

  @property
  def generator(self) -> Generator:
    """Return the two networks that are trained."""
    return Generator(config=self.config, text=self.text)

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters of both networks, boxed with logical names."""
    return self.generator.init(rng)

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create parameters of the tokenizer, boxed with logical names."""
    return TokenizerTask(config=self.tokenizer).init(rng)

  def rows(self, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray) -> Rows:
    """Tokenize a batch, choose the hidden tokens, and make its rows."""
    batch = self.tokenized(frozen, batch)
    if 'images' not in batch:
      return self._clip_rows(batch['clips'], rng)
    images = self._image_rows(batch['images'], rng)
    if 'clips' not in batch:
      return images
    return join_rows(self._clip_rows(batch['clips'], rng), images)

  def tokenized(self, frozen: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Replace the pixels of a batch by tokens, as `data/spec.py` has them."""
    parts = {}
    for name, part in batch.items():
      arrays = dict(part)
      if 'pixels' in part:
        pixels = normalise(arrays.pop('pixels'))
        if name == 'images':
          arrays['tokens'] = self._encode(frozen, pixels[:, None])[:, 0]
        else:
          ids = arrays['tokens'] = self._encode(frozen, pixels)
          if self.uses_reencoded:
            known = self._context(part['context_frames'])
            arrays['reencoded'] = self._reencoded(frozen, ids, known)
      parts[name] = arrays
    return parts

  @property
  def uses_reencoded(self) -> bool:
    """Return whether some clips have tokens of decoded context frames."""
    return self.training.reencoded_context > 0 and self.config.grid[0] > 1

  def _clip_rows(self, part: dict[str, Any], rng: PRNGKeyArray) -> Rows:
    ids = part['tokens']
    batch, t, h, w = ids.shape
    grid = (t, h, w)
    training = self.training
    num_latent = self._latent(part['num_frames'])
    known = self._context(part['context_frames'])
    if self.uses_reencoded:
      chosen = jax.random.bernoulli(
        stream(rng, 'reencoded'), training.reencoded_context, (batch, 1, 1, 1)
      )
      ids = jnp.where(chosen, part['reencoded'], ids)
    continued = jax.random.bernoulli(
      stream(rng, 'prediction'), training.prediction_share, (batch,)
    )
    prefix = self._latent(training.prediction_frames)
    known = jnp.where((known == 0) & continued, prefix, known)
    known = jnp.minimum(known, num_latent - 1)
    maskable = prefix_mask(num_latent, grid) & ~prefix_mask(known, grid)
    hidden = hide(
      stream(rng, 'hide_clips'),
      maskable=maskable,
      schedule=training.schedule,
    )
    return clip_rows(ids, hidden.reshape(ids.shape), num_latent, part['text'])

  def _reencoded(
    self,
    params: Any,
    ids: Int[Array, 'B t h w'],
    context: Int[Array, 'B'],
  ) -> Int[Array, 'B t h w']:
    """Replace the context tokens as the sampler does.

    The tokenizer is causal, so the number of context latent frames may differ
    between clips: later frames change neither their pixels nor their tokens.
    """
    # At least one latent frame is predicted, so the last is never context.
    pixels = CViViT(self.tokenizer).apply(
      {'params': params}, ids[:, :-1], method='decode'
    )
    again = self._encode(params, normalise(to_uint8(pixels)))
    again = jnp.concatenate([again, ids[:, -1:]], axis=1)
    replaced = jnp.arange(ids.shape[1])[None, :] < context[:, None]
    return jnp.where(replaced[:, :, None, None], again, ids)

  def _image_rows(self, part: dict[str, Any], rng: PRNGKeyArray) -> Rows:
    ids = part['tokens']
    images, length = ids.shape[0], self.config.grid[0]
    hidden = hide(
      stream(rng, 'hide_images'),
      maskable=jnp.ones((images, ids[0].size), bool),
      schedule=self.training.schedule,
    )
    frames_at = jnp.zeros(images, jnp.int32)
    if self.tokenizer.first_frame == 'repeated':
      # The tokens of an image occur at any latent frame of a clip. Images at
      # all indices teach the model their content for all latent frames.
      # (The name of the stream is a seed; another name changes the draws.)
      key = stream(rng, 'moments')
      frames_at = jax.random.randint(key, (images,), 0, length, jnp.int32)
    return image_rows(
      ids, hidden.reshape(ids.shape), frames_at, part['text'], length=length
    )

  def _latent(self, frames: Any) -> Any:
    """Return how many latent frames hold 1 + k * tubelet frames."""
    return 1 + (frames - 1) // self.tokenizer.tubelet

  def _context(self, frames: Int[Array, 'B']) -> Int[Array, 'B']:
    """Return how many latent frames hold the context frames."""
    return jnp.where(frames > 0, self._latent(frames), 0)

  def _encode(
    self, params: Any, pixels: Float[Array, 'B T H W C']
  ) -> Int[Array, 'B t h w']:
    ids = CViViT(self.tokenizer).apply(
      {'params': params}, pixels, method='encode'
    )
    return jax.lax.stop_gradient(ids)

  def logits(
    self,
    params: Any,
    rows: Rows,
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens of rows from the known tokens and the captions."""
    texts, dropout = rows.texts, None
    if not deterministic:
      dropout = stream(rng, 'dropout')
      if self.training.text_dropout:
        dropped = jax.random.bernoulli(
          stream(rng, 'drop_text'), self.training.text_dropout, texts.shape[:1]
        )
        texts = jnp.where(dropped[:, None], empty_texts(texts), texts)
    return self.generator.logits(
      params,
      jnp.where(rows.hidden, self.config.codebook_size, rows.ids),
      self.generator.encode(params, texts, dropout),
      segments=rows.segments,
      frames_at=rows.frames_at,
      text_index=rows.text_index,
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

    `deterministic` disables dropout, dropped texts and label smoothing.
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
