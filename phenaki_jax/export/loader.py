"""Run exported programs of a story model; needs jax, numpy and safetensors.

This file is written beside the programs as `load.py`. It imports nothing of
phenaki_jax, so that the folder works where only jax is installed:

    import load
    programs = load.Programs('.')
    frames = programs.clips(['a red circle moving right on grass'], seeds=[4])

Prompts need sentencepiece too; `clips` also takes token ids. A program is
code: load only folders that you trust.

    python load.py inputs.safetensors outputs.safetensors

runs the programs on stored inputs, as the exporter does to compare them.
"""

import hashlib
import json
import pathlib
import sys

import jax
import jax.export
import numpy as np
import safetensors.numpy

MANIFEST = 'programs.json'


class Programs:
  """The programs of a folder, with the weights that they take.

  Attributes:
    manifest: the content of `programs.json`.
  """

  def __init__(self, folder):
    """Read the programs and the weights, and verify their checksums.

    Args:
      folder: written by `phenaki export --format stablehlo`.

    Raises:
      ValueError: a file differs from its checksum, or the programs were not
        exported for the platform of jax.
    """
    self._folder = pathlib.Path(folder)
    self.manifest = json.loads((self._folder / MANIFEST).read_text('utf-8'))
    backend = jax.default_backend()
    platform = {'gpu': 'cuda'}.get(backend, backend)
    if platform not in self.manifest['platforms']:
      raise ValueError(
        f'the programs are for {self.manifest["platforms"]}, not for '
        f'{platform}; export them again: {self.manifest["export_again"]}'
      )
    self._weights = {
      part: _nested(safetensors.numpy.load(self._read(f'{part}.safetensors')))
      for part in ('tokenizer', 'generator')
    }
    self._calls = {}
    for name in self.manifest['programs']:
      exported = jax.export.deserialize(bytearray(self._read(f'{name}.export')))
      self._calls[name] = jax.jit(exported.call)

  def __call__(self, name, *inputs):
    """Run one program; `manifest['programs']` describes its inputs.

    Returns:
      One numpy array, or a list of them.
    """
    weights = self._weights[self.manifest['programs'][name]['weights']]
    output = self._calls[name](weights, *inputs)
    if isinstance(output, list | tuple):
      return [np.asarray(one) for one in output]
    return np.asarray(output)

  def text_ids(self, prompts):
    """Return the token ids of prompts, int32 [B, L]; needs sentencepiece."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor()
    model.load_from_serialized_proto(self._read('vocab.model'))
    length = self.manifest['text_length']
    ids = np.zeros((len(prompts), length), np.int32)
    for row, prompt in zip(ids, prompts, strict=True):
      pieces = model.encode(prompt, out_type=int)[: length - 1]
      row[: len(pieces)] = pieces
      row[len(pieces)] = 1
    return ids

  def clips(
    self, prompts, *, seeds, guidance=None, temperature=None, context=None
  ):
    """Sample one clip for each prompt.

    Args:
      prompts: texts, or their token ids, int32 [B, L].
      seeds: one per clip, 0 to 2**32 - 1.
      guidance: guidance scale; by default that of the model, which is the only
        one if it is 0.
      temperature: sampling temperature; by default that of the model.
      context: uint8 [B, K, H, W, 3], the frames that the clips continue; K is
        `manifest['context_frames']`.

    Returns:
      uint8 [B, T, H, W, 3]; a clip begins with its decoded context frames.

    Raises:
      ValueError: guidance of a model that has none.
    """
    defaults = self.manifest['sampling']
    if guidance and not defaults['guidance']:
      raise ValueError(
        f'guidance is {guidance:g}, but the programs were exported with 0 and '
        'make one forward pass; give 0, or export a model with guidance'
      )
    ids = prompts
    if not isinstance(prompts, np.ndarray):
      ids = self.text_ids(prompts)
    vectors, mask = self('text', ids)
    values = [
      defaults['guidance'] if guidance is None else guidance,
      defaults['temperature'] if temperature is None else temperature,
      defaults['choice_temperature'],
    ]
    tokens = np.zeros((len(ids), *self.manifest['grid']), np.int32)
    known = np.zeros(tokens.shape, bool)
    if context is not None:
      start = self('encode', context)
      tokens[:, : start.shape[1]] = start
      known[:, : start.shape[1]] = True
    tokens = self(
      'sample',
      vectors,
      mask,
      tokens,
      known,
      np.asarray(seeds, np.uint32),
      np.tile(np.asarray(values, np.float32), (len(ids), 1)),
    )
    return self('decode', tokens)

  def _read(self, name):
    data = (self._folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != self.manifest['sha256'][name]:
      raise ValueError(
        f'{self._folder / name} differs from its checksum; export again: '
        f'{self.manifest["export_again"]}'
      )
    return data


def _nested(flat):
  """Return arrays named `a/b/c` as nested dicts; float16 becomes float32."""
  tree: dict = {}
  for name, array in flat.items():
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    is_half = array.dtype == np.float16
    node[last] = array.astype(np.float32) if is_half else array
  return tree


def main(inputs, outputs):
  """Make a clip and its continuation of stored inputs, and store the frames.

  Args:
    inputs: path of a safetensors file with `texts` and `seeds`.
    outputs: path of the file to write, with `first` and `second`.
  """
  given = safetensors.numpy.load_file(inputs)
  programs = Programs(pathlib.Path(__file__).parent)
  size = programs.manifest['context_frames']
  first = programs.clips(given['texts'], seeds=given['seeds'])
  second = programs.clips(
    given['texts'], seeds=given['seeds'], context=first[:, -size:]
  )
  safetensors.numpy.save_file({'first': first, 'second': second}, outputs)


if __name__ == '__main__':
  main(*sys.argv[1:])
