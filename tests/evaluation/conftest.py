import numpy as np
import pytest

from phenaki_jax.storyworld import (
  Facts,
  Scene,
  parse,
  render_clip,
  subset_named,
)
from phenaki_jax.storyworld.oracle import read_clip

SUBSET = subset_named('easy')
SPEED = {'left': (-1, 0), 'right': (1, 0), 'up': (0, -1), 'down': (0, 1)}


class OracleModel:
  """Read the context, change the facts the prompt names and render more."""

  clip_frames = 9

  def __init__(self, *, forgets=None, when=None, jumps=False, ghost=False):
    self._forgets = forgets
    self._when = when
    self._jumps = jumps
    self._ghost = ghost

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    contexts = [None] * len(prompts) if context is None else context
    return np.stack(
      [
        self._clip(prompt, size, seen)
        for prompt, seen in zip(prompts, contexts, strict=True)
      ]
    )

  def _clip(self, prompt, size, seen):
    named = parse(prompt)
    if seen is None:
      return render_clip(Scene(facts=Facts(**named)), self.clip_frames, size)
    before = read_clip(seen, subset=SUBSET)
    values = {k: v for k, v in before.values.items() if v is not None}
    if self._when is None or self._when in named:
      values |= self._forgets or {}
    values |= named
    facts = Facts(**values)
    step_x, step_y = SPEED.get(facts.motion, (0, 0))
    x = before.x[-1] + step_x / 16 + (0.4 if self._jumps else 0)
    y = before.y[-1] + step_y / 16
    scene = Scene(facts=facts, x=float(x % 1), y=float(y % 1))
    new = render_clip(scene, self.clip_frames - len(seen), size)
    if self._ghost:
      half = np.roll(new, size[0] // 2, (1, 2))
      new = np.where(half > new, half, new)
    return np.concatenate([seen, new])


@pytest.fixture(scope='session')
def oracle_model():
  """Return the class of a model that is perfect up to its faults."""
  return OracleModel
