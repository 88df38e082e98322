"""The frozen text encoder of a run: a checkpoint, or a cache of vectors."""

import dataclasses
import os
from typing import Any

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.data.record_cache import CacheInfo
from phenaki_jax.data.text_cache import KIND, VOCABULARY_FILE
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.paths import absolute
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.pretrained import load_encoder, read_config
from phenaki_jax.training.checkpoint_manifest import digest_tree


def resolve_text(text: TextConfig) -> TextConfig:
  """Fill in the shape of a frozen encoder, and where its parts are.

  Args:
    text: as the config has it. Its shape is replaced by that of the encoder,
      and only `max_length` is kept.

  Raises:
    UserError: the cache or the checkpoint cannot be used, or both are given.
  """
  if text.source and text.encoder:
    raise UserError(
      f'text.source is {text.source} and text.encoder is {text.encoder}; give '
      'one of them: a cache names its encoder itself'
    )
  if text.source:
    info = CacheInfo.read(text.source, KIND)
    if 'text' not in info.details:
      raise UserError(
        f'the cache of text in {text.source} is of an earlier version; build '
        f'another one with {info.command}'
      )
    cached = config_lib.build(TextConfig, info.details['text'])
    if text.max_length != cached.max_length:
      raise UserError(
        f'text.max_length is {text.max_length}, but the cache of text in '
        f'{text.source} was built with {cached.max_length}; set '
        f'text.max_length={cached.max_length}, or build another cache with '
        f'--length {text.max_length}'
      )
    folder = absolute(text.source)
    return dataclasses.replace(
      cached,
      source=os.fspath(folder),
      vocabulary=os.fspath(folder / VOCABULARY_FILE),
    )
  if not text.encoder:
    return text
  if not text.vocabulary:
    raise UserError(
      f'text.encoder is {text.encoder}, which needs its own vocabulary: --set '
      'text.vocabulary=FILE, its SentencePiece model'
    )
  return dataclasses.replace(
    read_config(text.encoder, max_length=text.max_length),
    encoder=os.fspath(absolute(text.encoder)),
    vocabulary=os.fspath(absolute(text.vocabulary)),
  )


def load_text(
  text: TextConfig, encoder: epath.PathLike | None = None
) -> tuple[Any, str]:
  """Read the parameters of a frozen encoder, and compute their digest.

  Args:
    text: its settings. If they have a digest, the parameters must have it.
    encoder: its checkpoint, if it is not where the settings say.

  Raises:
    NotFoundError: there is no checkpoint.
    UserError: it cannot be read, or is of another encoder.
  """
  place = encoder or text.encoder
  try:
    params = load_encoder(place, mesh=None, max_length=text.max_length).params
  except NotFoundError as error:
    raise NotFoundError(
      f'the text encoder that the model was trained with is missing ({error}); '
      'name its checkpoint with --encoder PATH'
    ) from error
  digest = digest_tree(params)
  if text.digest not in ('', digest):
    raise UserError(
      f'the text encoder in {place} is another one than that which the model '
      f'was trained with (parameters {text.digest} then, {digest} now); name '
      'the checkpoint of that time with --encoder PATH'
    )
  return params, digest
