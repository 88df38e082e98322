"""Encode captions with a frozen pretrained encoder into a cache of vectors."""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from phenaki_jax import config as config_lib
from phenaki_jax import progress, sharding
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.schema import EmptySplitError
from phenaki_jax.data.spec import composition
from phenaki_jax.data.text_cache import (
  INDEX_FILE,
  KIND,
  PART,
  VOCABULARY_FILE,
  TextExample,
  caption_hash,
)
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.files.digests import digest_json
from phenaki_jax.files.lock import run_lock
from phenaki_jax.files.paths import absolute
from phenaki_jax.runs.encode import check_place
from phenaki_jax.runs.evaluators import NUM_BATCHES, NUM_COUNTED
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.pipelines import history_slots
from phenaki_jax.text.pretrained import load_encoder
from phenaki_jax.text.seqio_task import captions_of
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.text.vocab import SentencePieceVocabulary, Vocabulary
from phenaki_jax.training.checkpoint_manifest import digest_tree

_log = logging.getLogger(__name__)

_BATCH = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextRequest:
  """What encodes the captions, and how the vectors are kept.

  Attributes:
    encoder: a checkpoint of a T5 encoder (see `text.tensors`).
    vocabulary: its SentencePiece model file.
    length: token ids of a caption, its end included; longer ones are truncated.
      None for text.max_length.
    captions: number of examples of the training data whose captions are read,
      clips and images in turn; None for as many as train.steps can need.
    int8: keep int8 vectors with a scale each, instead of float32.
    seqio_task: FILE.py:NAME of a Task whose captions are encoded instead of
      those of the data (see `text.seqio_task`).
  """

  encoder: str
  vocabulary: str
  length: int | None = None
  captions: int | None = None
  int8: bool = False
  seqio_task: str = ''


def encode_text(
  experiment: Experiment,
  out: epath.PathLike,
  request: TextRequest,
  *,
  mesh: Mesh,
) -> CacheInfo:
  """Write the vectors of the different captions of the data, and of ''.

  The captions are those of training and of its evaluations, or those of a Task
  of seqio. An interrupted build goes on.

  Args:
    experiment: whose data have the captions.
    out: folder of the cache.
    request: the encoder and the settings.
    mesh: from `sharding.make_mesh`.

  Raises:
    UserError: the data, the encoder or the vocabulary cannot be used, or the
      folder holds something else.
  """
  check_place(out)
  vocabulary = SentencePieceVocabulary.from_file(request.vocabulary)
  length = request.length or experiment.text.max_length
  if request.seqio_task:
    read = captions_of(request.seqio_task, vocabulary, length=length)
    captions = list(itertools.islice(read, request.captions))
  else:
    captions = list(_captions(experiment, request.captions))
  # '' is the dropped caption.
  captions = list(dict.fromkeys(['', *captions]))
  captions += [''] * (-len(captions) % _BATCH)
  found = load_encoder(request.encoder, mesh=mesh, max_length=length)
  if vocabulary.size > found.config.vocab_size:
    raise UserError(
      f'{request.vocabulary} has {vocabulary.size} ids, but the encoder in '
      f'{request.encoder} has {found.config.vocab_size}; name its own '
      'vocabulary'
    )
  digest = digest_tree(found.params)
  text = dataclasses.replace(
    found.config,
    encoder=os.fspath(absolute(request.encoder)),
    digest=digest,
  )
  info = CacheInfo(
    kind=KIND,
    settings={
      'encoder': digest,
      'vocabulary': hashlib.sha256(vocabulary.model).hexdigest(),
      'length': length,
    },
    details={
      'int8': request.int8,
      'text': config_lib.to_dict(text),
      'captions': digest_json(captions),
    },
    counts={PART: _BATCH},
    steps=len(captions) // _BATCH,
  )
  with run_lock(out, option='--out'):
    writer = CacheWriter(out, info)
    encode = jax.jit(
      T5Encoder(found.config).apply,
      out_shardings=sharding.replicated(mesh),
    )
    missing = writer.missing
    total = sum(stop - start for start, stop in missing)
    with progress.bar(total=total, unit='batch', desc='encode') as bar:
      for start, stop in missing:
        records = []
        for step in range(start, stop):
          batch = captions[step * _BATCH : (step + 1) * _BATCH]
          ids = _ids(vocabulary, batch, length)
          vectors = np.asarray(encode({'params': found.params}, ids))
          counts = np.count_nonzero(ids, axis=1)
          records += [
            TextExample(caption=caption, vectors=rows[:count]).to_record(
              int8=request.int8
            )
            for caption, rows, count in zip(batch, vectors, counts, strict=True)
          ]
          bar.update()
        writer.write(start, {PART: records})
    hashes = np.array([caption_hash(text) for text in captions], np.uint64)
    content = io.BytesIO()
    np.save(content, hashes)
    replace_file(epath.Path(out) / INDEX_FILE, content.getvalue())
    replace_file(epath.Path(out) / VOCABULARY_FILE, vocabulary.model)
    writer.finish()
  return info


def _ids(vocabulary: Vocabulary, texts: Sequence[str], length: int) -> Any:
  ids = [vocabulary.encode_padded(text, length) for text in texts]
  return np.stack(ids)


def _captions(experiment: Experiment, limit: int | None) -> Iterator[str]:
  """Yield the captions of training, up to a limit, and of its evaluations."""
  data = experiment.data
  # Batches are also read ahead, and by an evaluator.
  steps = experiment.train.steps + data.prefetch + data.num_threads
  # Clips and images are read in turn, so that twice the batches are enough even
  # if all examples are of one kind.
  made = composition(data, tubelet=experiment.tokenizer.tubelet)
  examples = made.num_clips + made.num_images
  most = 2 * max(steps, NUM_COUNTED) * examples
  heldout = 2 * NUM_BATCHES * examples
  splits: tuple[tuple[Any, int], ...] = (
    ('train', limit or most),
    ('heldout', heldout),
  )
  for split, number in splits:
    with contextlib.suppress(EmptySplitError):
      pipeline = Pipeline(
        dataclasses.replace(data, split=split, token_cache=''),
        lambda caption: np.ones(1, np.int32),
        tubelet=experiment.tokenizer.tubelet,
        text_length=1,
        history=history_slots(experiment),
      )
      with contextlib.closing(pipeline):
        yield from pipeline.captions(number)
