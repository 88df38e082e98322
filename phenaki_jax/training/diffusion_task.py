"""Train a denoiser, given text and what is known of a clip.

It denoises frames, the continuous latents of a frozen tokenizer, or what is
missing in enlarged frames. Images are clips of one frame, in which the layers
over time are off. What a clip is told beside its caption is drawn as for the
masked transformer: known parts are shown on the canvas, and depth, own frames,
earlier scenes and numbers are read by the same ports.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax.diffusion.conditions import (
  Conditions,
  latent_canvas,
  pixel_canvas,
)
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.enlargement import enlarge, reduce_uint8
from phenaki_jax.diffusion.process import Corrupted
from phenaki_jax.diffusion.unet import image_vectors
from phenaki_jax.generator import EncodedTexts, Texts, empty_texts
from phenaki_jax.masked_transformer.masking import prefix_mask
from phenaki_jax.masked_transformer.tasks import Clips, known_tokens
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.pixels import normalise
from phenaki_jax.rng import stream
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.generator_conditions import Told, prepared, tell
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.history import tokenized as with_history
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.micro_batches import Divided, Each, split
from phenaki_jax.training.state import Role, Task
from phenaki_jax.training.structure_task import estimated
from phenaki_jax.training.tokenizer_task import TokenizerTask


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Examples:
  """Clips or images with noise, and all that the network reads of them.

  Attributes:
    x: the clean values.
    corrupted: with noise; its mask is False at padding.
    given: conditions of the network, without texts.
    texts: the captions; None if the network reads none.
  """

  x: Float[Array, 'B T H W C']
  corrupted: Corrupted
  given: Conditions
  texts: Texts | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionTask(Task):
  """Train a U-Net and its text encoder.

  Attributes:
    config: settings of the model.
    text: settings of the text encoder.
    tokenizer: settings of the frozen tokenizer of latents; of other values, the
      size of its tubelets is that of context and predictions.
    training: how examples are made.
    tokenizer_params: parameters of the tokenizer of latents.
    text_params: those of a frozen text encoder that encodes captions in the
      step.
    depth_network: estimates the depth of clips in the step.
    fps: frames per second of the clips.
    given: parameters that a new run starts from, by network.
  """

  config: DiffusionConfig
  text: TextConfig
  tokenizer: TokenizerConfig
  training: GeneratorTaskConfig = GeneratorTaskConfig()
  tokenizer_params: Any = None
  text_params: Any = None
  depth_network: PerceptualNetwork | None = None
  fps: float = 0.0
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
    added = {'words': self.text.words, 'prompt': self.config.prompt}
    names = ('text', 'unet', *(name for name in added if added[name]))
    return {name: Role(kind='fixed') for name in names if name != trained}

  @property
  def denoiser(self) -> Denoiser:
    """Return the networks that are trained."""
    return Denoiser(config=self.config, text=self.text)

  @property
  def frozen(self) -> Any:
    """Return the parameters of all networks that are not trained."""
    found = self.bound
    if self.depth_network is not None:
      found['depth'] = self.depth_network.params
    return found

  @property
  def bound(self) -> Any:
    """Return those without which the model does not work."""
    found = {}
    if self.config.values == 'latents':
      found['tokenizer'] = self.tokenizer_params
    if self._encodes_frozen:
      found['text'] = self.text_params
    return found

  @property
  def _encodes_frozen(self) -> bool:
    return self.config.reads_text and self.text.encodes_in_step

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters of all networks, boxed with logical names."""
    return self.denoiser.init(rng)

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create what `frozen` returns, boxed with logical names."""
    found = {}
    if self.config.values == 'latents':
      found['tokenizer'] = TokenizerTask(config=self.tokenizer).init(rng)
    if self._encodes_frozen:
      ids = jnp.ones((1, self.text.max_length), jnp.int32)
      found['text'] = T5Encoder(self.text).init(rng, ids)['params']
    if self.depth_network is not None:
      found['depth'] = self.depth_network.zeros()
    return found

  def examples(
    self, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray
  ) -> dict[str, Examples]:
    """Make the examples of a batch; all that is random is drawn here."""
    return {
      name: self._examples(frozen, part, stream(rng, name))
      for name, part in batch.items()
    }

  def _examples(
    self, frozen: Any, part: dict[str, Any], rng: PRNGKeyArray
  ) -> Examples:
    is_clips = 'num_frames' in part
    if is_clips:
      options = {'tubelet': self.tokenizer.tubelet}
      part = prepared({'clips': part}, self.training, rng, **options)['clips']
    pixels = normalise(part['pixels'])
    if not is_clips:
      pixels = pixels[:, None]
    count, frames = pixels.shape[:2]
    num_frames = part.get('num_frames', jnp.full(count, frames, jnp.int32))
    # A clip of one frame is an image.
    moves = is_clips and frames > 1
    given = Conditions(time=jnp.ones(count, bool) if moves else None)
    if self.config.values == 'residual':
      x, canvas, scalars = self._missing(pixels, rng)
      given = dataclasses.replace(given, canvas=canvas, scalars=scalars)
      length = num_frames
    else:
      x, length = self._values(frozen, pixels), num_frames
      if self.config.values == 'latents':
        length = self._latent(num_frames)
      known = jnp.zeros(x.shape[:-1], bool)
      if is_clips:
        told = self._told(frozen, part, x, length, rng)
        known = told.tokens.reshape(known.shape)
        given = dataclasses.replace(given, ports=told.conditions)
        if told.conditions and told.conditions.over_time is not None:
          given = dataclasses.replace(
            given, time=told.conditions.over_time[:, 0]
          )
      show = latent_canvas if self.config.values == 'latents' else pixel_canvas
      given = dataclasses.replace(given, canvas=show(x, known))
    corrupted = self.config.process.corrupt(x, stream(rng, 'corrupt'))
    real = jnp.arange(x.shape[1])[None] < length[:, None]
    real = jnp.broadcast_to(real[:, :, None, None], corrupted.mask.shape)
    texts: Any = None
    if self.config.reads_text:
      texts = self._dropped(self._texts(frozen, part), rng)
    return Examples(
      x=x,
      corrupted=dataclasses.replace(corrupted, mask=corrupted.mask & real),
      given=given,
      texts=texts,
    )

  def _texts(self, frozen: Any, part: dict[str, Any]) -> Texts:
    """Return token ids, or vectors of a cache or of a frozen encoder."""
    if 'text_vectors' in part:
      return EncodedTexts(vectors=part['text_vectors'], mask=part['text'] > 0)
    if self._encodes_frozen:
      encoded = self.denoiser.encode(frozen, part['text'])
      return jax.tree.map(jax.lax.stop_gradient, encoded)
    return part['text']

  def _dropped(self, texts: Texts, rng: PRNGKeyArray) -> Any:
    """Replace a share of the captions by the empty one."""
    count = jax.tree.leaves(texts)[0].shape[0]
    dropped = jax.random.bernoulli(
      stream(rng, 'drop_text'), self.training.text_dropout, (count,)
    )

    def choose(empty: Array, text: Array) -> Array:
      shape = (-1,) + (1,) * (text.ndim - 1)
      return jnp.where(
        jnp.broadcast_to(dropped.reshape(shape), text.shape), empty, text
      )

    return jax.tree.map(choose, empty_texts(texts), texts)

  def _missing(
    self, pixels: Float[Array, 'B T H W C'], rng: PRNGKeyArray
  ) -> tuple[Array, Array, dict[str, Array]]:
    """Return what enlarged frames lack, their canvas, and the scalars."""
    config = self.config
    small = reduce_uint8(pixels, config.enlarge)
    scalars = {}
    if config.degradation:
      share = jax.random.uniform(
        stream(rng, 'degradation'), small.shape[:1], jnp.float32
      )
      scalars['degradation'] = share
      noise = jax.random.normal(
        stream(rng, 'degrade'), small.shape, jnp.float32
      )
      weight = config.degradation * share.reshape(-1, 1, 1, 1, 1)
      small = small + jnp.broadcast_to(weight, small.shape) * noise
    large = enlarge(small, config.enlarge)
    canvas = pixel_canvas(large, jnp.ones(large.shape[:-1], bool))
    return (pixels - large) / config.scale, canvas, scalars

  def _told(
    self,
    frozen: Any,
    clips: dict[str, Any],
    x: Float[Array, 'B T H W C'],
    length: Array,
    rng: PRNGKeyArray,
  ) -> Told:
    """Draw what is known of each clip: its context, or that of a task."""
    training, prefix = self.training, self.training.prediction_frames
    context = clips['context_frames']
    if self.config.values == 'latents':
      prefix = self._latent(prefix)
      context = jnp.where(context > 0, self._latent(context), 0)
    grid = (x.shape[1], x.shape[2], x.shape[3])
    of_clips = Clips(
      key=stream(rng, 'known'), grid=grid, num_latent=length, prefix=prefix
    )
    return tell(
      self._shown(frozen, clips),
      rng,
      of_clips=of_clips,
      of_task=known_tokens(of_clips, training.task_shares),
      of_context=prefix_mask(jnp.minimum(context, length - 1), grid),
      training=training,
      scalars=self.config.ports.scalars,
      tubelet=self.tokenizer.tubelet,
      fps=self.fps,
    )

  def _shown(self, frozen: Any, clips: dict[str, Any]) -> dict[str, Any]:
    """Return clips with the depth and the images that they are told."""

    def encode(frames: Array) -> Array:
      values = self._values(frozen, frames)[:, 0]
      return image_vectors(values, self.config)[:, None]

    def encode_texts(ids: Array) -> Array:
      return self.denoiser.encode(frozen, ids).vectors

    found = with_history(
      clips, encode, encode_texts if self._encodes_frozen else None
    )
    for role in self.training.frame_shares:
      found[role] = encode(normalise(found[f'{role}_pixels'])[:, None])[:, 0]
    if self.depth_network is not None:
      found['depth'] = estimated(
        self.depth_network,
        frozen['depth'],
        clips['pixels'],
        clips['num_frames'],
      )
    return found

  def _values(
    self, frozen: Any, pixels: Float[Array, 'B T H W C']
  ) -> Float[Array, 'B t h w I']:
    """Return what is denoised of clips."""
    if self.config.values != 'latents':
      return pixels / self.config.scale
    latents: Any = CViViT(self.tokenizer).apply(
      {'params': frozen['tokenizer']}, pixels, method='latents'
    )
    return jax.lax.stop_gradient(latents) / self.config.scale

  def _latent(self, frames: Any) -> Any:
    """Return how many latent frames hold 1 + k * tubelet frames."""
    return 1 + (frames - 1) // self.tokenizer.tubelet

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the mean loss of the examples of a batch, and its metrics.

    Args:
      params: the parameters.
      frozen: see `frozen`.
      batch: see `data.spec`.
      rng: key of all random draws.
      deterministic: no dropout and no dropped texts.
    """
    if deterministic:
      training = dataclasses.replace(self.training, text_dropout=0.0)
      task = dataclasses.replace(self, training=training)
      return task._loss(params, task.examples(frozen, batch, rng), None)
    return self._loss(params, self.examples(frozen, batch, rng), rng)

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
    """Divide a batch; see `micro_batches.Divisible`."""
    del each
    examples = self.examples(frozen, batch, rng)
    count = sum(one.x.shape[0] for one in examples.values())
    return Divided(
      parts=split(examples, parts, ways=ways),
      totals={'examples': jnp.float32(count)},
    )

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: dict[str, Examples],
    rng: PRNGKeyArray,
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and the metrics."""
    del frozen
    return self._loss(params, part, rng, totals)

  def _loss(
    self,
    params: Any,
    examples: dict[str, Examples],
    rng: PRNGKeyArray | None,
    totals: Mapping[str, Array] | None = None,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    params = self.held(params)
    metrics: dict[str, Mean] = {}
    losses = []
    for name, part in examples.items():
      given = part.given
      if part.texts is not None:
        dropout = None if rng is None else stream(rng, f'dropout_{name}')
        texts = self.denoiser.encode(params, part.texts, dropout)
        given = dataclasses.replace(
          given, text=texts.vectors, text_mask=texts.mask
        )
      output = self.denoiser.predict(
        params, part.corrupted.x, part.corrupted.level, given
      )
      errors = self.config.process.loss(output, part.x, part.corrupted)
      real = part.corrupted.mask
      axes = tuple(range(1, real.ndim))
      # Every clip and every image has the same weight.
      own = jnp.sum(errors * real, axes) / jnp.sum(real, axes)
      metrics[f'loss_{name}'] = Mean.of(own)
      losses.append(own)
    all_losses = jnp.concatenate(losses)
    count = all_losses.size if totals is None else totals['examples']
    metrics['loss'] = Mean.of(all_losses)
    return jnp.sum(all_losses) / count, jax.lax.stop_gradient(metrics)
