"""Embed texts by CLIP, with the byte-pair encoding published with it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Float

from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.perceptual.clip import ClipText

FILE = 'tokenizer.json'
"""The published file of the encoding, beside the weights."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClipTexts:
  """Maps a text to its embedding.

  Attributes:
    module: the network.
    params: its weights.
    tokenizer: a `tokenizers.Tokenizer`, which adds the first and the last
      token of a text.
  """

  module: ClipText
  params: Any
  tokenizer: Any

  def __call__(self, text: str) -> Float[np.ndarray, ' E']:
    """Return the embedding of a text; one too long is cut, as published."""
    ids = self.tokenizer.encode(text).ids
    length = self.module.length
    if len(ids) > length:
      ids = [*ids[: length - 1], ids[-1]]
    padded = ids + ids[-1:] * (length - len(ids))
    return np.asarray(self._compiled(self.params, jnp.asarray([padded])))[0]

  @functools.cached_property
  def _compiled(self) -> Any:
    return jax.jit(
      lambda params, ids: self.module.apply({'params': params}, ids)
    )


def read_tokenizer(weights: str, vocabulary: int) -> Any:
  """Read the file `FILE` in the folder of the weights.

  Args:
    weights: file of the weights.
    vocabulary: number of tokens that the network knows.

  Raises:
    UserError: the file is missing, is of another network, or the package
      tokenizers is not installed.
  """
  check_extra('the network clip', 'tokenizers', extra='eval')
  import tokenizers

  path = epath.Path(weights).expanduser().parent / FILE
  if not path.is_file():
    raise UserError(
      f'{path} does not exist; put the published {FILE} of CLIP beside its '
      'weights'
    )
  try:
    found = tokenizers.Tokenizer.from_str(path.read_text())
  except Exception as error:  # The package raises nothing more special.
    raise UserError(f'{path} is no file of a tokenizer: {error}') from error
  if found.get_vocab_size() != vocabulary:
    raise UserError(
      f'{path} has {found.get_vocab_size()} tokens, but the weights are of '
      f'{vocabulary}; use the files of one model'
    )
  found.no_padding()
  found.no_truncation()
  return found
