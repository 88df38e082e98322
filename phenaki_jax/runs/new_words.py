"""The words that a run adds to the model that it starts from."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.model import Model
from phenaki_jax.text.t5 import WORDS
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.text.words import Words


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewWords:
  """What a run takes over from a model, with its new words.

  Attributes:
    vocabulary: in which each new word is one id.
    params: of the model, with a row for each new word.
  """

  vocabulary: SentencePieceVocabulary
  params: dict[str, Any]


def new_words(experiment: Experiment, start: Model, params: Any) -> NewWords:
  """Add the words of an experiment that its start lacks, if any.

  Args:
    experiment: `text.words` begins with the words of the start.
    start: a generator or a diffusion model.
    params: its parameters, by network.

  Raises:
    UserError: a word is in use already, or `start_word` is not known.
  """
  text = start.sampler.models.text
  new = experiment.text.words[len(text.words) :]
  known: Any = start.sampler.vocabulary
  params = dict(params)
  if not new:
    return NewWords(vocabulary=known, params=params)
  _check_words(new, experiment.start_word, start.words)
  tables = [params['text']['token_embedder']['embedding']]
  tables += [params[WORDS][WORDS]] if WORDS in params else []
  table = np.concatenate(tables)
  # The row starts as AR-LDM has it, from a word that means something close.
  rows = [
    table[known.encode(experiment.start_word or word)].mean(0) for word in new
  ]
  params[WORDS] = {WORDS: jnp.concatenate([*tables[1:], np.stack(rows)])}
  return NewWords(
    vocabulary=known.with_words(new, first=text.num_ids),
    params=params,
  )


def _check_words(new: tuple[str, ...], like: str, known: Words | None) -> None:
  """Raise a UserError for new words that change the ids of known ones."""
  counts = known.counts if known else {}
  for word in new:
    for other in counts:
      if other.startswith(word.casefold()):
        raise UserError(
          f'{word!r} is the beginning of {other!r}, a word of the training '
          'captions; give a new word that begins none of them, such as zog'
        )
  if like and known and known.unknown(like):
    raise UserError(
      f'start_word is {like!r}, but no training caption had it; give a word '
      f'that the model knows, such as {next(iter(counts), "")!r}'
    )
