"""Captions through a Task of seqio, as T5X reads its data (extra `tf`).

A file such as `captions.py` registers a Task, with seqio itself or by
`register`, and `phenaki encode --text --seqio-task captions.py:NAME` encodes
its captions:

    from phenaki_jax.text.seqio_task import register
    register('my_captions', open('captions.txt').read().splitlines(),
             vocabulary='spiece.model')

This is the only module that imports seqio and TensorFlow.
"""

import os
import runpy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.text.vocab import Vocabulary

_FEATURE = 'inputs'


def _seqio() -> Any:
  check_extra('--seqio-task', 'seqio', 'tensorflow', extra='tf')
  import seqio

  return seqio


def register(
  name: str, captions: Iterable[str], *, vocabulary: str | os.PathLike[str]
) -> Any:
  """Register a Task whose split 'train' holds captions, and return it.

  Its feature 'inputs' holds their token ids, an end mark last, as T5 expects.

  Args:
    name: of the Task; a Task that has it already is replaced.
    captions: the captions.
    vocabulary: a SentencePiece model file.
  """
  seqio = _seqio()
  import tensorflow

  texts = list(captions)

  def dataset(
    split: str, shuffle_files: bool = False, seed: int | None = None
  ) -> Any:
    del split, shuffle_files, seed
    return tensorflow.data.Dataset.from_tensor_slices({_FEATURE: texts})

  if name in seqio.TaskRegistry.names():
    seqio.TaskRegistry.remove(name)
  feature = seqio.Feature(
    seqio.SentencePieceVocabulary(os.fspath(vocabulary)), add_eos=True
  )
  return seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(dataset, splits=['train']),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos_after_trim,
    ],
    output_features={_FEATURE: feature},
  )


def captions_of(
  place: str, vocabulary: Vocabulary, *, length: int
) -> Iterator[str]:
  """Yield the captions of the split 'train' of a registered Task, in order.

  Args:
    place: FILE.py:NAME, the file that registers the Task, and its name.
    vocabulary: that of the text encoder.
    length: number of token ids that a caption is truncated to.

  Raises:
    NotFoundError: there is no such file or Task.
    UserError: seqio is missing, or the Task has no captions, or other token
      ids than those of the vocabulary.
  """
  seqio = _seqio()
  path, _, name = place.rpartition(':')
  if not os.path.isfile(path):
    raise NotFoundError(
      f'--seqio-task is {place}; give FILE.py:NAME, the Python file that '
      'registers a Task, and its name'
    )
  runpy.run_path(path)
  if name not in seqio.TaskRegistry.names():
    raise NotFoundError(
      f'{path} registers no Task {name}; the registered ones are '
      f'{", ".join(sorted(seqio.TaskRegistry.names())) or "none"}'
    )
  dataset = seqio.get_mixture_or_task(name).get_dataset(
    sequence_length={_FEATURE: length}, split='train', shuffle=False
  )
  for example in dataset.as_numpy_iterator():
    text = example.get(f'{_FEATURE}_pretokenized')
    if text is None:
      raise UserError(
        f'the Task {name} has no {_FEATURE}_pretokenized; put '
        'seqio.preprocessors.tokenize among its preprocessors'
      )
    caption = text.decode()
    found = np.zeros(length, np.int32)
    found[: len(example[_FEATURE])] = example[_FEATURE]
    expected = vocabulary.encode_padded(caption, length)
    if not np.array_equal(found, expected):
      raise UserError(
        f'the Task {name} gives {caption!r} the token ids {found.tolist()}, '
        f'but the vocabulary of the encoder gives it {expected.tolist()}; give '
        'the Task that vocabulary, with an end mark'
      )
    yield caption
