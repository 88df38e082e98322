"""Labelled frames of stories, for the reader of characters.

The batch of a step is a pure function of the config and the file.
"""

import hashlib
import json
import threading

import numpy as np

from phenaki_jax import config as config_io
from phenaki_jax.data import config as config_lib
from phenaki_jax.data import mixture, schema
from phenaki_jax.data.loader import Loader
from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.convert import resized
from phenaki_jax.data.story_sets.story import Account, Story
from phenaki_jax.errors import UserError

Batch = dict[str, dict[str, np.ndarray]]

SPLITS = {'train': 'train', 'heldout': 'val'}
"""The split of the stories that each split of the data reads."""

_NOT_IN_FINGERPRINT = (
  *('num_threads', 'prefetch', 'frame_cache_bytes', 'token_cache', 'sources'),
)


class CharacterFrames(Loader):
  """Loads this process' rows of every batch, all of them single frames.

  Every scene of every story is shown once in an epoch, by a random one of its
  frames. The attributes are those of `Sprites`.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    stories: str,
    names: tuple[str, ...],
    *,
    process_index: int = 0,
    process_count: int = 1,
  ):
    """Open the file.

    Args:
      config: the split, size and seed of the examples; they are all images.
      stories: HDF5 file with labels.
      names: of the characters, as in the file.
      process_index: index of this process.
      process_count: number of processes that share each batch.

    Raises:
      schema.EmptySplitError: the file has no story of the split.
      UserError: the file is missing, or has no or other labels.
    """
    super().__init__(config)
    self.composition = mixture.compose(
      batch_size=config.batch_size, image_share=config.image_share
    )
    if self.composition.num_clips:
      raise UserError(
        f'data.image_share is {config.image_share}, but a reader of characters '
        'sees single frames; set data.image_share=1'
      )
    file = sets.open_set('hdf5', stories)
    if file.characters != names:
      raise UserError(
        f'{stories} has labels of {", ".join(file.characters) or "nothing"}, '
        f'but characters.names is {", ".join(names)}; they must be the same'
      )
    split = SPLITS[config.split]
    self._stories = [
      story for story in file.stories(Account()) if story.split == split
    ]
    if not self._stories:
      raise schema.EmptySplitError(f'{stories} has no stories of {split}')
    self._scenes = len(self._stories[0].captions)
    self._process = process_index, process_count
    self._lock = threading.Lock()
    self._orders: dict[int, np.ndarray] = {}
    fields = config_io.to_dict(config)
    for name in _NOT_IN_FINGERPRINT:
      del fields[name]
    ids = [story.id for story in self._stories]
    text = json.dumps(['characters', names, ids, fields], sort_keys=True)
    self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

  def batch(self, step: int) -> Batch:
    """Return this process' rows of `step`.

    Returns:
      'images' with `pixels`, uint8 [B, H, W, 3], and `labels`, int32
      [B, characters].
    """
    index, processes = self._process
    total = self.composition.num_images
    rows = total // processes
    first = step * total + index * rows
    found = [self._example(first + row) for row in range(rows)]
    return {
      'images': {
        'pixels': np.stack([frame for frame, _ in found]),
        'labels': np.asarray([label for _, label in found], np.int32),
      }
    }

  def describe(self, latent_frames: int) -> str:
    """Describe the composition of the batches, for the log."""
    del latent_frames
    return (
      f'Every batch holds {self.composition.num_images} frames of '
      f'{len(self._stories)} stories.'
    )

  def _example(self, number: int) -> tuple[np.ndarray, tuple[int, ...]]:
    epoch, place = divmod(number, len(self._stories) * self._scenes)
    story, scene = divmod(int(self._order(epoch)[place]), self._scenes)
    chosen: Story = self._stories[story]
    assert chosen.labels is not None
    rng = np.random.default_rng((self.config.seed, number))
    frames = chosen.load(scene)
    frame = int(rng.integers(len(frames)))
    side, _ = self.config.size
    return resized(frames[frame : frame + 1], side)[0], chosen.labels[scene]

  def _order(self, epoch: int) -> np.ndarray:
    with self._lock:
      if epoch not in self._orders:
        rng = np.random.default_rng((self.config.seed, 1, epoch))
        count = len(self._stories) * self._scenes
        # Batches at the end of an epoch read two of them.
        self._orders = {
          **{e: o for e, o in self._orders.items() if e >= epoch - 1},
          epoch: rng.permutation(count),
        }
      return self._orders[epoch]
