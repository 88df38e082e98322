"""Weights for networks, the same in PyTorch and here, drawn from a seed."""

import math

import numpy as np
import tokenizers


def draw(shapes, seed):
  """Draw a tensor for each name, in the order of the names.

  Args:
    shapes: by name; the names of batch norms' statistics are PyTorch's.
    seed: of the numbers.
  """
  generator = np.random.default_rng(seed)
  tensors = {}
  for name in sorted(shapes):
    shape = tuple(shapes[name])
    values = generator.random(shape)
    if name.endswith('running_var'):
      values = 0.5 + values
    elif name.startswith('lin') or name.endswith('bn.weight'):
      values = 0.1 + values
    elif 'norm' in name and name.endswith('.weight'):
      values = 0.5 + values
    elif len(shape) > 1:
      # Keeps the size of the features from layer to layer.
      values = (2 * values - 1) * math.sqrt(6 / math.prod(shape[1:]))
    else:
      values = 0.2 * values - 0.1
    tensors[name] = values.astype(np.float32)
  return tensors


def pixels(*shape, seed):
  """Draw pixels in [-1, 1]."""
  values = np.random.default_rng(seed).random(shape)
  return (2 * values - 1).astype(np.float32)


def shapes(golden):
  """Return the shapes of the tensors of PyTorch's class, by name."""
  return {
    str(name): tuple(map(int, shape.split()))
    for name, shape in zip(golden['names'], golden['shapes'], strict=True)
  }


def write_tokenizer(path, size=600):
  """Write a small tokenizer.json, built as the published one of CLIP."""
  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  merges = [('c', 'a'), ('ca', 't</w>')]
  words = [*letters, *(f'{letter}</w>' for letter in letters)]
  words += [''.join(pair) for pair in merges]
  words += [f'{one}{other}' for one in 'ab' for other in letters]
  words = [*dict.fromkeys(words)][: size - 2]
  words += ['<|startoftext|>', '<|endoftext|>']
  vocabulary = {word: number for number, word in enumerate(words)}
  found = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab=vocabulary,
      merges=merges,
      continuing_subword_prefix='',
      end_of_word_suffix='</w>',
      unk_token=words[-1],
    )
  )
  normal, before = tokenizers.normalizers, tokenizers.pre_tokenizers
  found.normalizer = normal.Sequence(
    [
      normal.NFC(),
      normal.Replace(tokenizers.Regex(r'\s+'), ' '),
      normal.Lowercase(),
    ]
  )
  pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
  found.pre_tokenizer = before.Sequence(
    [
      before.Split(tokenizers.Regex(pattern), 'removed', invert=True),
      before.ByteLevel(add_prefix_space=False),
    ]
  )
  found.post_processor = tokenizers.processors.RobertaProcessing(
    (words[-1], size - 1), (words[-2], size - 2), False, False
  )
  found.save(str(path))
