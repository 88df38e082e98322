"""Make the golden ids of seqio's vocabularies.

    python -m venv /tmp/seqio
    /tmp/seqio/bin/pip install seqio tensorflow-text
    /tmp/seqio/bin/python tests/golden/seqio_ids.py

writes `seqio_ids.json`: the ids that `seqio` gives texts with the vocabulary of
the reference model and with bytes, after `append_eos` and padding.
"""

import json
import pathlib

import seqio
import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
MODEL = FOLDER.parents[1] / 'phenaki_jax' / 'reference' / 'vocab.model'
LENGTH = 24
TEXTS = (
  'a red circle moving right on grass',
  'A  Blue square',
  'Bär 🐻 日本',
  '',
  'a very long text that does not fit into so few ids of either vocabulary',
)


def ids_of(vocabulary):
  """Return the ids of all texts through a Task, as T5 expects them."""
  feature = seqio.Feature(vocabulary, add_eos=True)
  seqio.TaskRegistry.remove('captions')
  task = seqio.TaskRegistry.add(
    'captions',
    source=seqio.FunctionDataSource(
      lambda split, shuffle_files=False, seed=None: (
        tf.data.Dataset.from_tensor_slices({'inputs': list(TEXTS)})
      ),
      splits=['train'],
    ),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.CacheDatasetPlaceholder(),
      seqio.preprocessors.append_eos_after_trim,
    ],
    output_features={'inputs': feature},
  )
  dataset = task.get_dataset({'inputs': LENGTH}, 'train', shuffle=False)
  dataset = seqio.trim_and_pad_dataset(dataset, {'inputs': LENGTH})
  return [one['inputs'].tolist() for one in dataset.as_numpy_iterator()]


def main():
  """Write the ids of both vocabularies."""
  vocabularies = {
    'sentencepiece': seqio.SentencePieceVocabulary(str(MODEL)),
    'bytes': seqio.ByteVocabulary(),
  }
  values = {
    name: {
      'size': vocabulary.vocab_size,
      'plain': [list(map(int, vocabulary.encode(text))) for text in TEXTS],
      'padded': ids_of(vocabulary),
    }
    for name, vocabulary in vocabularies.items()
  }
  content = {'texts': TEXTS, 'length': LENGTH, **values}
  path = FOLDER / 'seqio_ids.json'
  path.write_text(json.dumps(content, ensure_ascii=False) + '\n')


if __name__ == '__main__':
  main()
