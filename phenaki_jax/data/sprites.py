"""Labelled and degraded examples of the sprite world, for the reader.

The batch of a step is a pure function of the config and the sheets.
"""

import hashlib
import json
import os
import random

import numpy as np

from phenaki_jax import config as config_io
from phenaki_jax.data import config as config_lib
from phenaki_jax.data import mixture
from phenaki_jax.data.loader import Loader
from phenaki_jax.lpc import degradation, labels, random_story, renderer
from phenaki_jax.lpc.ground import ground
from phenaki_jax.lpc.sheets import Sheets
from phenaki_jax.types import VideoU8

Batch = dict[str, dict[str, np.ndarray]]

SIZE = 128  # side of the rendered frames, in pixels
_EMPTY_SHARE = 0.02  # share of examples that show no character
_NOT_IN_FINGERPRINT = (
  *('num_threads', 'prefetch', 'frame_cache_bytes', 'token_cache', 'sources'),
)


class Sprites(Loader):
  """Renders this process' rows of every batch.

  A clip is `config.frames` frames of a clip of 9 to 16, in order. The held-out
  split shows held-out combinations only, and the training split all others.

  Attributes:
    composition: numbers of clips and images of the global batch.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    sheets: str | os.PathLike[str],
    *,
    process_index: int = 0,
    process_count: int = 1,
  ):
    """Find the sheets.

    Args:
      config: the split, size, frames, mixture and seed of the examples.
      sheets: folder of the sheets.
      process_index: index of this process.
      process_count: number of processes that share each batch.

    Raises:
      UserError: the folder or a file of it is missing.
    """
    super().__init__(config)
    self.composition = mixture.compose(
      batch_size=config.batch_size, image_share=config.image_share
    )
    self._sheets = Sheets(sheets)
    self._process = process_index, process_count
    fields = config_io.to_dict(config)
    for name in _NOT_IN_FINGERPRINT:
      del fields[name]
    text = json.dumps(['sprites', fields], sort_keys=True)
    self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

  def batch(self, step: int) -> Batch:
    """Return this process' rows of `step`.

    Returns:
      'clips' and 'images', each with `pixels`, uint8 [B, T, H, W, 3] or
      [B, H, W, 3], and `labels`, int32 [B, facts] (see `lpc.labels`).
    """
    index, processes = self._process
    batch = {}
    for part, total in self.composition.counts.items():
      rows = total // processes
      first = step * total + index * rows
      found = [self._example(part, first + row) for row in range(rows)]
      pixels = np.stack([frames for frames, _ in found])
      batch[part] = {
        'pixels': pixels[:, 0] if part == 'images' else pixels,
        'labels': np.stack([label for _, label in found]),
      }
    return batch

  def describe(self, latent_frames: int) -> str:
    """Describe the composition of the batches, for the log."""
    del latent_frames
    made = self.composition
    return (
      f'Every batch holds {made.num_clips} clips, of which '
      f'{self.config.frames} frames are rendered, and {made.num_images} images.'
    )

  def _example(self, part: str, number: int) -> tuple[VideoU8, np.ndarray]:
    config = self.config
    rng = random.Random(f'{config.seed} {config.split} {part} {number}')
    sample = getattr(random_story, f'sample_{part[:-1]}')
    story = sample(rng, size=SIZE, held_out=config.split == 'heldout')
    (scene,) = story.scenes
    facts = scene.facts.as_dict()
    if rng.random() < _EMPTY_SHARE:
      seen = {'place': scene.facts.place, 'style': 'plain'}
      facts = {**dict.fromkeys(facts), **seen}
      count = 1 if part == 'images' else config.frames
      frames = np.stack([ground(scene.facts.place, SIZE)] * count)
    elif part == 'images':
      frames = renderer.render_image(story, self._sheets, size=SIZE)[None]
    else:
      chosen = rng.sample(range(scene.frames), config.frames)
      frames = renderer.render_story(
        story, self._sheets, size=SIZE, frames=chosen
      )
    side, _ = config.size
    return degradation.degrade(frames, rng, side=side), labels.encode(facts)
