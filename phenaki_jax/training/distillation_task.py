"""Train a generator on the predictions of another one, its teacher.

Guidance distillation (arXiv 2210.03142, section 3.1): the student's prediction
without guidance is that of the teacher with guidance, which halves the forward
passes.

Step distillation (Di[M]O, arXiv 2503.15457, sections 3.2 and 3.3): a student
that uncovers many tokens at once draws each of them alone, so that they do not
fit each other. The teacher's predictions of the same input cannot teach it
more, since they are of single tokens too. Here the student draws the tokens of
a decoding step; some are shown to the teacher, which predicts the others. An
auxiliary model, trained on what the student draws, predicts them too. Where the
teacher finds a token likelier than the auxiliary model does, the student's
logit is raised. Unlike in the paper, the student keeps a few decoding steps,
whose first tokens give its clips their variety; its input needs no noise.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phenaki_jax.generator import empty_texts
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.masked_transformer.schedules import Schedule, hidden_share
from phenaki_jax.rng import stream
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.rows import Rows, pack_images
from phenaki_jax.training.state import Role

_AUXILIARY = 'auxiliary'


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
  def roles(self) -> dict[str, Role]:  # type: ignore[override]
    """Return the auxiliary model of a step distillation."""
    if not self.distillation.steps:
      return {}
    return {_AUXILIARY: Role(kind='opponent')}

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters of all networks, boxed with logical names."""
    params = super().init(rng)
    if self.distillation.steps:
      params[_AUXILIARY] = self.generator.init(rng)
    return params

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
    """Differentiate the loss; with `steps`, match the tokens of a step."""
    if not self.distillation.steps:
      return super().gradients(params, frozen, batch, rng)
    tokens = self.tokenized(frozen, self._prepared(batch, rng))
    groups = self.layout.groups if self.layout else 1
    rows, after = (
      self._rows(tokens, rng, _Advance(share=share), groups)
      for share in (0.0, 1.0)
    )
    uncovered = rows.hidden & ~after.hidden
    student = {k: tree for k, tree in params.items() if k != _AUXILIARY}

    def student_loss(student: Any) -> tuple[Array, Any]:
      logits = self._scaled(student, rows, rng)
      state, judged, drawn = self._revealed(rows, uncovered, logits, rng)
      wanted, found = jax.lax.stop_gradient(
        [
          self._taught(frozen['teacher'], state, rng),
          jax.nn.log_softmax(self._scaled(params[_AUXILIARY], state, rng), -1),
        ]
      )
      pull = attract(logits, wanted, found, judged)
      return pull, (state, judged, drawn, wanted, found)

    grads, aside = jax.grad(student_loss, has_aux=True)(student)
    state, judged, drawn, wanted, found = aside
    weight = judged.astype(jnp.float32)
    count = jnp.maximum(jnp.sum(weight), 1.0)

    def auxiliary_loss(auxiliary: Any) -> Array:
      logs = jax.nn.log_softmax(self._scaled(auxiliary, state, rng), -1)
      right = jnp.take_along_axis(logs, drawn[..., None], -1)[..., 0]
      return -jnp.sum(right * weight) / count

    loss, of_auxiliary = jax.value_and_grad(auxiliary_loss)(params[_AUXILIARY])
    divergence = jnp.sum(jnp.exp(wanted) * (wanted - found), -1)
    metrics = {
      'loss': Mean(jnp.sum(divergence * weight), count),
      'auxiliary': Mean.of(loss),
    }
    return {**grads, _AUXILIARY: of_auxiliary}, jax.lax.stop_gradient(metrics)

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
  ) -> tuple[Rows, Bool[Array, 'R t h w'], Int[Array, 'R t h w']]:
    """Draw the tokens of a decoding step, and show a part of them.

    Returns:
      The rows with this part, the others, and all tokens that were drawn.
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
    noise = jax.random.uniform(stream(rng, 'shown'), size, jnp.float32)
    shown = uncovered & (noise < share)
    state = dataclasses.replace(
      rows,
      ids=jnp.where(shown, drawn, rows.ids),
      hidden=rows.hidden & ~shown,
    )
    return state, uncovered & ~shown, drawn

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
      silent = dataclasses.replace(rows, texts=empty_texts(rows.texts))
      # As `sampling.guidance` does.
      own = own + scale * (own - self._scaled(teacher, silent, rng))
    return jax.nn.log_softmax(own, -1)


def attract(
  logits: Float[Array, '*b V'],
  wanted: Float[Array, '*b V'],
  found: Float[Array, '*b V'],
  judged: Bool[Array, '*b'],
) -> Float[Array, '']:
  """Return a number whose gradient moves logits from `found` to `wanted`.

  The gradient at a judged token is the difference of the probabilities (Di[M]O,
  equation 8, with the forward divergence); elsewhere it is 0.

  Args:
    logits: of the student.
    wanted: log-probabilities of the teacher.
    found: log-probabilities of the auxiliary model.
    judged: True at the tokens that count.
  """
  weight = judged.astype(jnp.float32)
  change = jnp.exp(found) - jnp.exp(wanted)
  total = jnp.sum(jnp.sum(change * logits, -1) * weight)
  return total / jnp.maximum(jnp.sum(weight), 1.0)
