"""Clips in two stages, for models whose clips had no captions in training.

Text is known of images alone, and motion of clips without text (Make-A-Video,
arXiv 2209.14792). A clip therefore starts from an image of its prompt, which it
continues without text.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.clip_sampler import ClipSampler
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.sampling.scored_clips import ScoredClips


def stills(
  sampler: ClipSampler,
  prompts: Sequence[str],
  *,
  size: tuple[int, int],
  seeds: Sequence[int],
  settings: SamplingSettings,
) -> np.ndarray:
  """Sample one image for each prompt, uint8 [B, 1, H, W, 3].

  A still sees the source frame and the pictures of a character, because the
  clip that continues it sees them. In training, images see none, so that how
  well a still follows them is not known. Earlier scenes are shown to clips
  alone.

  Raises:
    UserError: the model has positions of clips alone.
  """
  models = sampler.models
  if isinstance(models, Models) and models.generator.positions == 'learned':
    raise UserError(
      "the model has generator.positions='learned', which are those of whole "
      "clips; a single image needs a model with 'rotary' positions"
    )
  ids = sampler.blank(len(prompts), 1, size)
  made = sampler.completed(
    prompts,
    ids=ids,
    known=np.zeros(ids.shape[:4], bool),
    seeds=seeds,
    settings=settings,
  )
  return sampler.decode(made)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StillFirst:
  """A sampler that makes clips in two stages; otherwise it is the given one.

  Attributes:
    sampler: makes both stages.
  """

  sampler: ClipSampler

  def __getattr__(self, name: str) -> Any:
    """Return what the sampler has; those that it makes have two stages, too."""
    if name.startswith('__'):
      raise AttributeError(name)
    found = getattr(self.sampler, name)
    if not name.startswith('with_'):
      return found
    return lambda *given, **named: StillFirst(sampler=found(*given, **named))

  @property
  def clip_frames(self) -> int:
    """Return the number of frames of a training clip."""
    return self.sampler.clip_frames

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""
    return self.sampler.frames_of(num_latent)

  def completed(
    self,
    prompts: Sequence[str],
    *,
    ids: np.ndarray,
    settings: SamplingSettings,
    **options: Any,
  ) -> np.ndarray:
    """Sample the values that are not known, as `ClipSampler.completed`.

    Prompts are of images alone. Clips are guided towards their content, if
    there is one, and otherwise not at all.
    """
    if ids.shape[1] > 1:
      prompts, conditions = [''] * len(prompts), options.get('conditions')
      if conditions is not None and 'content' in conditions.memory:
        settings = dataclasses.replace(settings, negative='')
      else:
        settings = _without_text(settings)
    return self.sampler.completed(
      prompts, ids=ids, settings=settings, **options
    )

  def clips(self, prompts: Sequence[str], **options: Any) -> np.ndarray:
    """Sample clips; arguments and result are those of the sampler.

    With context frames there is the second stage alone, and the prompts have no
    effect.
    """
    options = _second(self, prompts, options)
    return self.sampler.clips([''] * len(prompts), **options)

  def scored_clips(self, prompts: Sequence[str], **options: Any) -> ScoredClips:
    """Sample clips with their scores, which are of the second stage.

    Raises:
      UserError: the sampler gives no scores.
    """
    if not isinstance(self.sampler, Sampler):
      raise UserError('this model gives no scores; set candidates: 1')
    options = _second(self, prompts, options)
    return self.sampler.scored_clips([''] * len(prompts), **options)


def _second(
  maker: StillFirst, prompts: Sequence[str], options: dict[str, Any]
) -> dict[str, Any]:
  """Return the options of the second stage, after the first one."""
  options = dict(options)
  if options.get('context') is None:
    options.pop('context', None)
    shared = {name: options[name] for name in ('size', 'seeds', 'settings')}
    options['context'] = stills(maker.sampler, prompts, **shared)
  return {**options, 'settings': _without_text(options['settings'])}


def _without_text(settings: SamplingSettings) -> SamplingSettings:
  return dataclasses.replace(settings, guidance=0.0, negative='')
