"""Call an exported SavedModel; needs tensorflow, numpy and safetensors.

This file is written beside the SavedModel as `load.py`; it imports nothing of
phenaki_jax and no jax.

    python load.py inputs.safetensors outputs.safetensors

makes a clip and its continuation of stored inputs, as the exporter does to
compare them.
"""

import json
import pathlib
import sys

import numpy as np
import safetensors.numpy
import tensorflow as tf

MANIFEST = 'programs.json'


def clips(model, manifest, texts, seeds, context=None):
  """Sample one clip for each prompt.

  Args:
    model: from `tf.saved_model.load`.
    manifest: the content of `programs.json`.
    texts: token ids of the prompts, int32 [B, L].
    seeds: uint32 [B].
    context: uint8 [B, K, H, W, 3], the frames that the clips continue.

  Returns:
    uint8 [B, T, H, W, 3].
  """

  def call(name, **inputs):
    signature = model.signatures[name]
    given = {key: tf.constant(value) for key, value in inputs.items()}
    outputs = signature(**given)
    return [outputs[key].numpy() for key in sorted(outputs)]

  vectors, mask = call('text', texts=texts)
  sampling = manifest['sampling']
  values = [
    sampling[name] for name in ('guidance', 'temperature', 'choice_temperature')
  ]
  tokens = np.zeros((len(texts), *manifest['grid']), np.int32)
  known = np.zeros(tokens.shape, bool)
  if context is not None:
    (start,) = call('encode', frames=context)
    tokens[:, : start.shape[1]] = start
    known[:, : start.shape[1]] = True
  (tokens,) = call(
    'sample',
    vectors=vectors,
    mask=mask,
    tokens=tokens,
    known=known,
    seeds=seeds,
    values=np.tile(np.asarray(values, np.float32), (len(texts), 1)),
  )
  return call('decode', tokens=tokens)[0]


def main(inputs, outputs):
  """Make a clip and its continuation of stored inputs, and store the frames.

  Args:
    inputs: path of a safetensors file with `texts` and `seeds`.
    outputs: path of the file to write, with `first` and `second`.
  """
  folder = pathlib.Path(__file__).parent
  manifest = json.loads((folder / MANIFEST).read_text('utf-8'))
  model = tf.saved_model.load(str(folder))
  given = safetensors.numpy.load_file(inputs)
  first = clips(model, manifest, given['texts'], given['seeds'])
  context = first[:, -manifest['context_frames'] :]
  second = clips(model, manifest, given['texts'], given['seeds'], context)
  safetensors.numpy.save_file({'first': first, 'second': second}, outputs)


if __name__ == '__main__':
  main(*sys.argv[1:])
