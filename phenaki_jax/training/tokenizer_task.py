"""Train the tokenizer to reconstruct clips and images.

Clips and images are two parts of one batch, each of its own static shape, so
that one compiled step serves both. An image is a one-frame clip, or, where the
tokenizer repeats the first frame, a still clip with the same tokens.

With an adversarial term the parameters hold a discriminator as well, which is
an opponent of the tokenizer (see `state.Task`). What the discriminator and the
codebook need to remember is in the entry 'statistics' of the parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax import rng as rngs
from phenaki_jax.perceptual.distances import image_distance, video_distance
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.pixels import normalise
from phenaki_jax.sharding import logical
from phenaki_jax.tokenizer import adversarial
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.tokenizer.duel import Pair, duel, follow, make_discriminator
from phenaki_jax.tokenizer.losses import (
  TokenizerLossWeights,
  frame_mask,
  pixel_errors,
  repeat_last,
)
from phenaki_jax.tokenizer.quantizers.base import code_use
from phenaki_jax.tokenizer.quantizers.codebook import (
  count_unused,
  draw,
  kmeans,
)
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.micro_batches import Divided, Each, split
from phenaki_jax.training.state import Role, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured:
  """The loss of a batch without its adversarial term, and what it was made of.

  `ids`, `weights` and `vectors` are the token ids, their weights (0 at padding)
  and VQ's vectors before quantization, each of all clips and images.
  """

  loss: Array
  metrics: dict[str, Mean]
  pairs: list[Pair]
  ids: Array
  weights: Array
  vectors: Array | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTask(Task):
  """Train a C-ViViT on clips and images.

  Attributes:
    config: the tokenizer's shape.
    weights: weights of the loss terms.
    image_network: of the perceptual term of frames, if it has a weight.
    video_network: of the perceptual term of clips, if it has a weight.
  """

  config: TokenizerConfig
  weights: TokenizerLossWeights = TokenizerLossWeights()
  image_network: PerceptualNetwork | None = None
  video_network: PerceptualNetwork | None = None

  @property
  def roles(self) -> dict[str, Role]:  # type: ignore[override]
    """Return the roles of the discriminator and of the statistics, if any."""
    found = {}
    if self.weights.adversarial:
      start = self.weights.adversary.start
      found['discriminator'] = Role(kind='opponent', start=start)
    if found or self._renews_codes:
      found['statistics'] = Role(kind='statistics')
    return found

  @property
  def undivided(self) -> str:
    """Return the weight of LFQ's entropy of the mean distribution, if any."""
    config = self.config
    if config.quantizer == 'lfq' and config.lfq_entropy:
      return f'tokenizer.lfq_entropy={config.lfq_entropy:g}'
    return ''

  @property
  def _renews_codes(self) -> bool:
    codebook = self.weights.codebook
    renews = codebook.kmeans or codebook.revive_after > 0
    return self.config.quantizer == 'vq' and renews

  @property
  def frozen(self) -> Any:
    """Return the weights of the perceptual networks."""
    networks = {'image': self.image_network, 'video': self.video_network}
    return {name: x.params for name, x in networks.items() if x is not None}

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create boxed zeros of the shapes of `frozen`."""
    del rng
    networks = {'image': self.image_network, 'video': self.video_network}
    shapes = {name: x.shapes() for name, x in networks.items() if x is not None}
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters, boxed with their logical names."""
    config = self.config
    pixels = jnp.zeros((1, 1 + config.tubelet, *config.patch, 3))
    params = CViViT(config).init(rng, pixels)['params']
    if self.opponents:
      adversary = self.weights.adversary
      example = pixels if adversary.judges == 'clips' else pixels[:, 0]
      key = rngs.stream(rng, 'discriminator')
      module = make_discriminator(adversary)
      params = {**params, 'discriminator': module.init(key, example)['params']}
    if self.statistics:
      shapes: dict[str, tuple[int, ...]] = {'steps': ()}
      if self.opponents:
        shapes['scores'] = (2,)
      if self._renews_codes:
        shapes['unused'] = (config.vq_codes,)
        shapes['candidates'] = (config.vq_codes, config.vq_dim)
      zeros = jax.nn.initializers.zeros
      params = {
        **params,
        'statistics': {
          name: logical(zeros, *(None,) * len(shape))(rng, shape)
          for name, shape in shapes.items()
        },
      }
    return params

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss without its adversarial term; nothing is random."""
    del rng, deterministic
    measured = self._measure(params, frozen, batch)
    metrics = {**measured.metrics, 'loss': Mean.of(measured.loss)}
    return measured.loss, jax.lax.stop_gradient(metrics)

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
    del frozen, rng, each
    totals = {'batches': jnp.float32(parts), **self._counts(batch)}
    return Divided(parts=split(batch, parts, ways=ways), totals=totals)

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: dict[str, Any],
    rng: PRNGKeyArray,
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and the metrics.

    The use of codes is the average of that of micro-batches.
    """
    del rng
    measured = self._measure(params, frozen, part, totals)
    loss = Mean(measured.loss, 1.0 / totals['batches'])
    metrics = {**measured.metrics, 'loss': loss}
    return measured.loss, jax.lax.stop_gradient(metrics)

  def losses(
    self, params: Any, frozen: Any, batch: dict[str, Any], rng: PRNGKeyArray
  ) -> tuple[tuple[Array, Array], tuple[dict[str, Mean], dict[str, Array]]]:
    """Compute the losses of both players from one forward pass.

    Args:
      params: the parameters of both, and their statistics.
      frozen: the weights of the perceptual networks.
      batch: see `data.spec`.
      rng: key of the codes that are drawn from the batch.

    Returns:
      The losses of the tokenizer and of the discriminator; and, without
      gradients, the metrics and the statistics of this step.
    """
    measured = self._measure(params, frozen, batch)
    before = params['statistics']
    after = {'steps': before['steps'] + 1.0}
    model, opponent = measured.loss, jnp.zeros(())
    metrics = dict(measured.metrics)
    if self.opponents:
      settings = self.weights.adversary
      share, begun = adversarial.schedule(before['steps'], settings)
      terms = duel(
        settings, params['discriminator'], measured.pairs, before['scores']
      )
      model = model + self.weights.adversarial * share * terms.model
      opponent = begun * (
        terms.discriminator
        + settings.r1 * terms.r1
        + settings.lecam * terms.lecam
      )
      found = {
        'adversarial': terms.model,
        'adversarial_share': share,
        'discriminator': terms.discriminator,
        'scores_real': terms.real,
        'scores_fake': terms.fake,
      }
      for name in ('r1', 'lecam'):
        if getattr(settings, name):
          found[name] = getattr(terms, name)
      metrics |= {name: Mean.of(value) for name, value in found.items()}
      after['scores'] = jnp.where(
        begun > 0, follow(before['scores'], terms), before['scores']
      )
    if self._renews_codes:
      after |= self._codes(before, measured, rng)
      revived = self._is_renewed(before['steps'], after['unused'])
      metrics['codes/renewed'] = Mean.of(revived.sum())
    metrics['loss'] = Mean.of(model)
    return (model, opponent), jax.lax.stop_gradient((metrics, after))

  def gradients(
    self, params: Any, frozen: Any, batch: Any, rng: PRNGKeyArray
  ) -> tuple[Any, dict[str, Mean]]:
    """Return the gradients of both players, and the statistics of this step."""
    if not self.statistics:
      return super().gradients(params, frozen, batch, rng)
    _, pull, (metrics, after) = jax.vjp(
      lambda params: self.losses(params, frozen, batch, rng),
      params,
      has_aux=True,
    )
    one, zero = jnp.ones(()), jnp.zeros(())
    (grads,) = pull((one, zero))
    grads = {**grads, 'statistics': after}
    if self.opponents:
      (theirs,) = pull((zero, one))
      grads['discriminator'] = theirs['discriminator']
    return grads, metrics

  def settle(self, params: Any, gradients: Any) -> Any:
    """Store the statistics of a step, and renew codes of the codebook."""
    if not self.statistics:
      return params
    before, after = params['statistics'], dict(gradients['statistics'])
    if self._renews_codes:
      renewed = self._is_renewed(before['steps'], after['unused'])
      quantizer = params['quantizer']
      codebook = jnp.where(
        renewed[:, None], after['candidates'], quantizer['codebook']
      )
      params = {**params, 'quantizer': {**quantizer, 'codebook': codebook}}
      after['unused'] = jnp.where(renewed, 0.0, after['unused'])
    return {**params, 'statistics': after}

  def _is_renewed(self, steps: Array, unused: Array) -> Array:
    """Return True for each code that is replaced after a step."""
    codebook = self.weights.codebook
    renewed = jnp.zeros(unused.shape, bool)
    if codebook.revive_after:
      renewed |= unused >= codebook.revive_after
    if codebook.kmeans:
      renewed |= steps == 0
    return renewed

  def _codes(
    self, before: dict[str, Array], measured: _Measured, rng: PRNGKeyArray
  ) -> dict[str, Array]:
    """Return how long codes are unused, and vectors that may replace them."""
    config = self.config
    assert measured.vectors is not None
    used = jnp.zeros(config.vq_codes).at[measured.ids].add(measured.weights)
    key = rngs.stream(rng, 'codes')
    inputs = measured.vectors, measured.weights, config.vq_codes, key
    inputs = jax.lax.stop_gradient(inputs[:2]) + inputs[2:]
    if self.weights.codebook.kmeans:
      vectors = jax.lax.cond(
        before['steps'] == 0, lambda: kmeans(*inputs), lambda: draw(*inputs)
      )
    else:
      vectors = draw(*inputs)
    unused = count_unused(before['unused'], used)
    return {'unused': unused, 'candidates': vectors}

  def _masks(self, kind: str, part: dict[str, Any]) -> tuple[Array, Array]:
    """Return how many frames of each example count, and 1 at these frames."""
    count, length = part['pixels'].shape[:2]
    if kind == 'clips':
      num_frames = part['num_frames']
    else:
      latent_frames = self.config.latent_frames_of_image
      length = 1 + (latent_frames - 1) * self.config.tubelet
      num_frames = jnp.full(count, length, jnp.int32)
    return num_frames, frame_mask(num_frames, length).astype(jnp.float32)

  def _counts(self, batch: dict[str, Any]) -> dict[str, Array]:
    """Return what the sums of the terms are divided by."""
    masks = [self._masks(kind, part)[1] for kind, part in batch.items()]
    clips = batch.get('clips', {'num_frames': jnp.zeros(0)})['num_frames']
    return {
      'frames': sum((jnp.sum(x) for x in masks), jnp.zeros(())),
      'latent_frames': sum(
        (jnp.sum(x[:, :: self.config.tubelet]) for x in masks), jnp.zeros(())
      ),
      'clips': jnp.float32(clips.shape[0]),
    }

  def _measure(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    totals: Mapping[str, Array] | None = None,
  ) -> _Measured:
    """Encode and decode a batch, and weigh all terms but the adversarial.

    `totals` are the counts of the whole batch, if this is a micro-batch.
    """
    terms: dict[str, list[tuple[Array, Array]]] = {}
    metrics: dict[str, Mean] = {}
    pairs, ids, weights, vectors = [], [], [], []
    for kind in ('clips', 'images'):
      if kind not in batch:
        continue
      pixels = normalise(batch[kind]['pixels'])
      num_frames, mask = self._masks(kind, batch[kind])
      if kind == 'images':
        pixels = jnp.repeat(pixels[:, None], mask.shape[1], axis=1)
      # One entry per latent frame.
      latent_mask = mask[:, :: self.config.tubelet]
      output, seen = CViViT(self.config).apply(
        {'params': params}, pixels, latent_mask, mutable=['intermediates']
      )
      errors = pixel_errors(pixels, output.reconstruction)
      for name in ('l2', 'l1', 'edge', 'detail'):
        terms.setdefault(name, []).append((getattr(errors, name), mask))
      terms.setdefault('quantizer', []).append(
        (output.quantizer_loss.mean((2, 3)), latent_mask)
      )
      pair = Pair(
        target=repeat_last(pixels, num_frames),
        output=repeat_last(output.reconstruction, num_frames),
        mask=mask,
      )
      pairs.append(pair)
      for name, distance in self._distances(frozen, kind, pair).items():
        count = mask if distance.ndim == 2 else jnp.ones(distance.shape)
        terms.setdefault(name, []).append((distance, count))
      ids.append(output.ids.reshape(-1))
      real = jnp.broadcast_to(latent_mask[:, :, None, None], output.ids.shape)
      weights.append(real.reshape(-1))
      if self._renews_codes:
        (lookup,) = seen['intermediates']['quantizer']['lookup']
        vectors.append(lookup.reshape(-1, lookup.shape[-1]))
      # In dB, of values in [-1, 1].
      psnr = 10.0 * jnp.log10(4.0 / jnp.maximum(errors.l2, 1e-10))
      metrics[f'psnr_{kind}_first'] = Mean.of(psnr[:, 0])
      if kind == 'clips':
        metrics['psnr_clips_rest'] = Mean.of(psnr[:, 1:], mask[:, 1:])
    total: Any = jnp.zeros(())
    counted = {'quantizer': 'latent_frames', 'video_perceptual': 'clips'}
    for name, parts in terms.items():
      weight = getattr(self.weights, name)
      value: Any = sum(jnp.sum(x * m) for x, m in parts)
      total_mask: Any = sum(jnp.sum(m) for _, m in parts)
      metrics[name] = Mean(value, total_mask)
      if weight:
        if totals is not None:
          total_mask = totals[counted.get(name, 'frames')]
        total = total + weight * value / total_mask
    all_ids, all_weights = jnp.concatenate(ids), jnp.concatenate(weights)
    use = code_use(all_ids, all_weights, self.config.codebook_size)
    metrics['codes/usage'] = Mean.of(use.usage)
    metrics['codes/perplexity'] = Mean.of(use.perplexity)
    return _Measured(
      loss=total,
      metrics=metrics,
      pairs=pairs,
      ids=all_ids,
      weights=all_weights,
      vectors=jnp.concatenate(vectors) if vectors else None,
    )

  def _distances(self, frozen: Any, kind: str, pair: Pair) -> dict[str, Array]:
    """Return the perceptual terms, of each frame or of each clip."""
    found = {}
    if self.image_network is not None:
      shape = pair.target.shape
      target, output = (
        x.reshape(-1, *shape[2:]) for x in (pair.target, pair.output)
      )
      distance = image_distance(
        self.image_network, frozen['image'], target, output
      )
      found['image_perceptual'] = distance.reshape(shape[:2])
    if self.video_network is not None and kind == 'clips':
      found['video_perceptual'] = video_distance(
        self.video_network,
        frozen['video'],
        pair.target,
        pair.output,
        size=self.weights.networks.video_size,
      )
    return found
