"""Limits of the model that affect a story: words, prompt length and size.

A model generates a film from any text. Without these remarks, a film of words
that are not in the training captions looks like a success.
"""

from collections.abc import Mapping, Sequence

from phenaki_jax.stories.remarks import Remark
from phenaki_jax.stories.story import ModelDefaults, Story
from phenaki_jax.text.vocab import UNK_ID, Vocabulary
from phenaki_jax.text.words import Words, split_words

_SHOWN = 8


def make_remarks(
  story: Story,
  *,
  defaults: ModelDefaults,
  vocabulary: Vocabulary,
  length: int,
  words: Words | None,
) -> tuple[Remark, ...]:
  """Return at most one remark per scene, and one about the size.

  Args:
    story: a resolved story.
    defaults: of the model; its size is the trained one.
    vocabulary: turns prompts into token ids.
    length: number of ids that the model reads, with the end of text.
    words: of the training captions. None if they are not known: only words
      with characters that the vocabulary lacks are then unknown.
  """
  remarks = []
  if story.size != defaults.size:
    asked, trained = (
      'x'.join(map(str, size or ())) for size in (story.size, defaults.size)
    )
    remarks.append(
      Remark(
        sentence=f'the story has frames of {asked} pixels, but the model was '
        f'trained on {trained} only; expect worse frames'
      )
    )
  for number, scene in enumerate(story.scenes, start=1):
    parts = []
    unknown = _unknown(scene.prompt, vocabulary, words)
    if unknown:
      parts.append(f'{_scope(words)} contains {_listed(unknown)}')
    ids = vocabulary.encode(scene.prompt)
    unread = ''
    if len(ids) >= length:
      unread = vocabulary.decode(ids[length - 1 :])
      parts.append(
        f'the model reads {length - 1} of the {len(ids)} pieces of the prompt, '
        f'without its end "{unread}"'
      )
    if parts:
      remarks.append(
        Remark(
          sentence=f'scene {number}: {"; ".join(parts)}',
          scene=number,
          unknown=unknown,
          unread=unread,
        )
      )
  return tuple(remarks)


def _unknown(
  prompt: str, vocabulary: Vocabulary, words: Words | None
) -> Mapping[str, Sequence[str]]:
  if words is not None:
    return words.unknown(prompt)
  found = split_words(prompt)
  return {word: [] for word in found if UNK_ID in vocabulary.encode(word)}


def _scope(words: Words | None) -> str:
  if words is None:
    return 'no training caption'
  return f'none of {words.captions:,} training captions'


def _listed(unknown: Mapping[str, Sequence[str]]) -> str:
  """List words, each with the similar ones that the model knows."""
  shown = [
    _quoted(word)
    + (f' (known: {", ".join(map(_quoted, similar))})' if similar else '')
    for word, similar in list(unknown.items())[:_SHOWN]
  ]
  if len(unknown) > _SHOWN:
    shown.append(f'{len(unknown) - _SHOWN} other words')
  return ' or '.join(filter(None, (', '.join(shown[:-1]), shown[-1])))


def _quoted(word: str) -> str:
  return f'"{word}"'
