"""A trained tokenizer: that of a run directory, or of a bundle."""

import dataclasses
from typing import Any

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.files.digests import file_digest
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import checkpoint_files, checkpoints


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedTokenizer:
  """A tokenizer and what is known of its training.

  Attributes:
    params: its parameters.
    config: its shape, as the checkpoint or the bundle has it.
    training: its training, in words.
    place: which version of it was read, in words.
  """

  params: Any
  config: TokenizerConfig
  training: str
  place: str


def read_tokenizer(folder: epath.PathLike) -> TrainedTokenizer:
  """Read the tokenizer of a run directory or a bundle.

  Raises:
    NotFoundError: the folder is neither.
    UserError: the bundle is damaged.
    CheckpointError: the run has no checkpoint yet.
  """
  if bundle_lib.is_bundle(folder):
    content = bundle_lib.load_bundle(folder)
    name = content.config.get('name') or epath.Path(folder).name
    return TrainedTokenizer(
      params=content.tokenizer_params,
      config=experiment_lib.tokenizer_config(folder),
      training=f'that of the bundle `{name}`',
      place='of a bundle',
    )
  snapshot = checkpoints.load_params(folder)
  trained = experiment_lib.read(folder)
  data = trained.data
  return TrainedTokenizer(
    params=snapshot.params,
    config=config_lib.build(TokenizerConfig, snapshot.config['tokenizer']),
    training=f'`{trained.name}`, {snapshot.step:,} steps of {data.batch_size} '
    f'examples ({data.image_share:.0%} images)',
    place=f'at step {snapshot.step}',
  )


def tokenizer_digest(folder: epath.PathLike) -> str:
  """Return a digest of what `read_tokenizer` reads; no array is read.

  Args:
    folder: a run directory with a checkpoint, or a bundle.
  """
  if bundle_lib.is_bundle(folder):
    return bundle_lib.tokenizer_digest(folder)
  checkpoints_of_run = epath.Path(folder) / checkpoint_files.FOLDER
  newest = str(checkpoint_files.finished(checkpoints_of_run)[0])
  return file_digest(checkpoints_of_run / newest / checkpoint_files.MANIFEST)
