"""Train a generator on the predictions of another one, its teacher.

Guidance distillation (arXiv 2210.03142, section 3.1): the student's prediction
without guidance is that of the teacher with guidance, which halves the forward
passes.

Step distillation: a student that uncovers many tokens at once draws each of
them alone, so that they do not fit each other. It learns distributions whose
tokens fit: those of least reverse divergence from the teacher, which draws
token by token. This is mean-field inference (arXiv 1601.00670, section 2.3)
by a network. The divergence of the tokens of a decoding step is a sum over any
order of them (chain rule), so that the student draws all tokens, a random part
is shown to the teacher, and the others are compared with its predictions. As
in Di[M]O (arXiv 2503.15457), the teacher thus judges what the student draws;
Di[M]O's auxiliary model is not needed, because tokens that are drawn at once
are independent. How the part changes with the student is left out of the
gradient.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from phenaki_jax.generator import empty_texts
from phenaki_jax.masked_transformer.config import Schedule
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.masked_transformer.schedules import hidden_share
from phenaki_jax.nn.conditions import unconditional
from phenaki_jax.rng import stream
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.rows import Rows, pack_images

# Least log-probability of the teacher in the comparison, so that no token
# outweighs a batch.
_FLOOR = -12.0
# Share of the rows of which the teacher is shown nothing. It follows the tokens
# that it is shown, also where they contradict the text.
_UNSHOWN = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Advance:
  """A place between two states of the student, from 0 to 1."""

  share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationTask(GeneratorTask):
  """Train a masked transformer and its text encoder on a teacher.

  Attributes:
    distillation: how the student learns.
    schedule: share of tokens that the student's decoding steps leave hidden.
    teacher_params: parameters of the teacher, whose networks are those of the
      student.
  """

  distillation: DistillationConfig = DistillationConfig()
  schedule: Schedule = 'cosine'
  teacher_params: Any = dataclasses.field(
    default=None, hash=False, compare=False
  )

  @property
  def frozen(self) -> Any:
    """Return the tokenizer's parameters, with those of 'teacher'."""
    return {**self.bound, 'teacher': self.teacher_params}

  @property
  def bound(self) -> Any:
    """Return the frozen parameters that a trained student still needs."""
    return super().frozen

  def init_frozen(self, rng: PRNGKeyArray) -> Any:
    """Create what `frozen` returns, boxed with logical names."""
    return {**super().init_frozen(rng), 'teacher': self.generator.init(rng)}

  @property
  def undivided(self) -> str:
    """Return the setting whose states are drawn for a whole batch."""
    steps = self.distillation.steps
    return f'distillation.steps={steps}' if steps else super().undivided

  def _dropped(self, rows: Rows, rng: PRNGKeyArray) -> Rows:
    """Keep the captions, because the student is sampled with prompts alone."""
    del rng
    return rows

  def _clip_rows(
    self, clips: dict[str, Any], rng: PRNGKeyArray, part: Any
  ) -> Rows:
    if not isinstance(part, _Advance):
      return super()._clip_rows(clips, rng, part)
    rows = super()._clip_rows(clips, rng, None)
    known = rows.frames_at < self._context(clips['context_frames'])[:, None]
    maskable = jnp.broadcast_to(
      ((rows.segments >= 0) & ~known)[:, :, None, None], rows.ids.shape
    )
    hidden = self._hidden(stream(rng, 'state_clips'), maskable, part)
    return dataclasses.replace(rows, hidden=hidden)

  def _image_rows(
    self, images: dict[str, Any], rng: PRNGKeyArray, part: Any, *, length: int
  ) -> Rows:
    if not isinstance(part, _Advance):
      return super()._image_rows(images, rng, part, length=length)
    rows = super()._image_rows(images, rng, None, length=length)
    maskable = jnp.ones(images['tokens'].shape, bool)
    hidden = self._hidden(stream(rng, 'state_images'), maskable, part)
    packed = pack_images(hidden, length, fill=0)
    return dataclasses.replace(rows, hidden=packed)

  def _hidden(
    self, rng: PRNGKeyArray, maskable: Bool[Array, 'B *r'], advance: _Advance
  ) -> Bool[Array, 'B *r']:
    """Return what is hidden after a state that every example draws.

    The same key gives the same state and the same order of the tokens.
    """
    batch, steps = maskable.shape[0], self.distillation.steps
    state = jax.random.randint(
      stream(rng, 'state'), (batch,), 0, steps, jnp.int32
    )
    flat = maskable.reshape(batch, -1)
    noise = jax.random.uniform(stream(rng, 'order'), flat.shape, jnp.float32)
    rank = jnp.argsort(jnp.argsort(jnp.where(flat, noise, 2.0), -1), -1)
    share = hidden_share(self.schedule, (state + advance.share) / steps)
    # As in `sampling.decode`: rounding must not change the floor.
    count = jnp.floor(jnp.sum(flat, -1) * share + 1e-3)
    return ((rank < count[:, None]) & flat).reshape(maskable.shape)

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
    """Compute the divergence from the teacher's predictions of hidden tokens.

    Args:
      params: the parameters of the student.
      frozen: see `frozen`.
      batch: see `data.spec`.
      rng: key of all random draws.
      deterministic: without dropout.
      part: see `evaluate`.
    """
    rows = self.rows(frozen, batch, rng, part)
    return self._imitated(params, frozen, rows, rng, deterministic)

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: Rows,
    rng: PRNGKeyArray,
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and the metrics."""
    return self._imitated(params, frozen, part, rng, False, totals=totals)

  def gradients(
    self, params: Any, frozen: Any, batch: Any, rng: PRNGKeyArray
  ) -> tuple[Any, dict[str, Mean]]:
    """Differentiate the loss; with `steps`, that of a decoding step."""
    if not self.distillation.steps:
      return super().gradients(params, frozen, batch, rng)
    tokens = self.tokenized(frozen, self._prepared(batch, rng))
    groups = self.layout.groups if self.layout else 1
    rows, after = (
      self._rows(tokens, rng, _Advance(share=share), groups)
      for share in (0.0, 1.0)
    )
    uncovered = rows.hidden & ~after.hidden
    return jax.grad(self._fitted, has_aux=True)(
      params, frozen['teacher'], rows, uncovered, rng
    )

  def _fitted(
    self,
    params: Any,
    teacher: Any,
    rows: Rows,
    uncovered: Bool[Array, 'R t h w'],
    rng: PRNGKeyArray,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the divergence of a step's tokens from the teacher's."""
    found = self._scaled(params, rows, rng)
    state, judged = self._revealed(rows, uncovered, found, rng)
    found = jax.nn.log_softmax(found, -1)
    wanted = jax.lax.stop_gradient(self._taught(teacher, state, rng))
    divergence = joint_divergence(found, wanted, uncovered, judged)
    count = jnp.maximum(jnp.sum(uncovered), 1.0)
    metrics = {
      'loss': Mean(divergence, count),
      # How sure the student is of its tokens.
      'entropy': Mean(
        -jnp.sum(jnp.sum(jnp.exp(found) * found, -1) * uncovered), count
      ),
    }
    return divergence / count, jax.lax.stop_gradient(metrics)

  def _scaled(
    self, params: Any, rows: Rows, rng: PRNGKeyArray
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens, at the temperature at which they are drawn."""
    texts = self._encoded(params, rows, rng, deterministic=True)
    logits = self._logits(params, rows, texts, rng, deterministic=True)
    return logits.astype(jnp.float32) / self.distillation.temperature

  def _revealed(
    self,
    rows: Rows,
    uncovered: Bool[Array, 'R t h w'],
    logits: Float[Array, 'R t h w V'],
    rng: PRNGKeyArray,
  ) -> tuple[Rows, Bool[Array, 'R t h w']]:
    """Draw the tokens of a decoding step, and show a part of them.

    Returns:
      The rows with this part, and the others.
    """
    count, size = rows.ids.shape[0], rows.ids.shape
    drawn, _ = draw(
      jax.random.split(stream(rng, 'student'), count),
      jax.lax.stop_gradient(logits).reshape(count, -1, logits.shape[-1]),
      jnp.ones(count, jnp.float32),
    )
    drawn = drawn.reshape(size)
    share = jax.random.uniform(
      stream(rng, 'share'), (count, 1, 1, 1), jnp.float32
    )
    # Negative, and thus no token, for a part of the rows.
    share = (share - _UNSHOWN) / (1 - _UNSHOWN)
    noise = jax.random.uniform(stream(rng, 'shown'), size, jnp.float32)
    shown = uncovered & (noise < share)
    state = dataclasses.replace(
      rows,
      ids=jnp.where(shown, drawn, rows.ids),
      hidden=rows.hidden & ~shown,
    )
    return state, uncovered & ~shown

  def _imitated(
    self,
    params: Any,
    frozen: Any,
    rows: Rows,
    rng: PRNGKeyArray,
    deterministic: bool,
    totals: Mapping[str, Array] | None = None,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of rows, or of a micro-batch if `totals` are given."""
    wanted = jax.lax.stop_gradient(self._taught(frozen['teacher'], rows, rng))
    texts = self._encoded(params, rows, rng, deterministic=deterministic)
    logits = self._logits(params, rows, texts, rng, deterministic=deterministic)
    temperature = self.distillation.temperature
    found = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature, -1)
    divergence = jnp.sum(jnp.exp(wanted) * (wanted - found), -1)
    weight = rows.hidden.astype(jnp.float32)
    total, count = jnp.sum(divergence * weight), jnp.sum(weight)
    agrees = jnp.argmax(wanted, -1) == jnp.argmax(found, -1)
    metrics = {
      'loss': Mean(total, jnp.maximum(count, 1.0)),
      'agreement': Mean(jnp.sum(agrees * weight), jnp.maximum(count, 1.0)),
    }
    whole = totals['hidden'] if totals else count
    return total / jnp.maximum(whole, 1.0), jax.lax.stop_gradient(metrics)

  def _taught(
    self, teacher: Any, rows: Rows, rng: PRNGKeyArray
  ) -> Float[Array, 'R t h w V']:
    """Return the teacher's log-probabilities, with its guidance."""
    own = self._scaled(teacher, rows, rng)
    if scale := self.distillation.guidance:
      # As `sampling.conditions.for_passes` and `sampling.guidance` do.
      silent = dataclasses.replace(
        rows,
        texts=empty_texts(rows.texts),
        conditions=rows.conditions and unconditional(rows.conditions),
      )
      own = own + scale * (own - self._scaled(teacher, silent, rng))
    return jax.nn.log_softmax(own, -1)


def joint_divergence(
  found: Float[Array, 'R *r V'],
  wanted: Float[Array, 'R *r V'],
  uncovered: Bool[Array, 'R *r'],
  judged: Bool[Array, 'R *r'],
) -> Float[Array, '']:
  """Estimate a divergence of independent tokens from dependent ones.

  With q the product of the distributions in `found`, and p drawing the tokens
  of a row one by one in a random order, KL(q | p) is the sum over the tokens of
  their own divergence, given the tokens before them. A part of random size was
  drawn; the mean of the others stands for all tokens of the row.

  Args:
    found: log-probabilities of the student, before any was drawn.
    wanted: those of the teacher, which sees the part.
    uncovered: True at the tokens of the decoding step.
    judged: True at those that are not in the part.

  Returns:
    The sum over rows.
  """
  own = jnp.exp(found) * (found - jnp.maximum(wanted, _FLOOR))
  axes = tuple(range(1, judged.ndim))
  total = jnp.sum(jnp.sum(own, -1) * judged, axes)
  share = jnp.sum(uncovered, axes) / jnp.maximum(jnp.sum(judged, axes), 1)
  return jnp.sum(total * share)
