"""Train the tokenizer, or the generator on a trained tokenizer's tokens.

The same command on the same --workdir goes on from the last checkpoint. A run
directory holds config.json, vocab.model (a generator's), checkpoints/,
metrics.jsonl, tensorboard/ and samples/. Exit code 75 means that a signal
stopped the run after it was saved: start it again.
"""

import argparse
import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  from phenaki_jax.data.config import DataConfig
  from phenaki_jax.data.pipeline import Pipeline
  from phenaki_jax.runs.experiment import Experiment
  from phenaki_jax.text.vocab import SentencePieceVocabulary

EXAMPLES = """
  phenaki train --config configs/tokenizer/tiny.py --workdir runs/tokenizer
  phenaki train --config configs/generator/tiny.py --workdir runs/generator \\
    --set tokenizer_dir=runs/tokenizer
  phenaki train --config configs/tokenizer/tiny.py --workdir runs/quick \\
    --set train.steps=20 --set data.batch_size=4
"""

_log = logging.getLogger(__name__)


_NEXT = {
  'tokenizer': 'Next, train a generator on its tokens: phenaki train --config '
  'configs/generator/NAME.py --workdir DIR --set tokenizer_dir=%s',
  'generator': 'Next, tell a story with it: phenaki story --model %s '
  '--prompt "..." --prompt "..." --out story.mp4',
}

# Captions from which a vocabulary is learned; more would change little.
_NUM_CAPTIONS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the command's arguments; everything else is a config field."""
  parser.add_argument(
    '--config', required=True, metavar='FILE[:ARG]', help='a Python config'
  )
  parser.add_argument(
    '--workdir', required=True, metavar='DIR', help='the run directory'
  )
  parser.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='A.B=VALUE',
    help='override a field of the config; may be given several times',
  )


def run(args: argparse.Namespace) -> int:
  """Wire one training run, and train."""
  from phenaki_jax.runs import experiment as experiment_lib

  experiment = experiment_lib.resolve(args.config, args.set)
  workdir = pathlib.Path(args.workdir)
  with contextlib.ExitStack() as stack:
    # Before anything else that asks jax for its devices.
    stack.enter_context(_joined_processes())
    import jax

    from phenaki_jax import config as config_lib
    from phenaki_jax import sharding
    from phenaki_jax.runs import evaluators
    from phenaki_jax.training import loop

    experiment_lib.validate(
      experiment,
      num_devices=jax.device_count(),
      process_count=jax.process_count(),
    )
    mesh = sharding.make_mesh(experiment.mesh)
    vocabulary = None
    if experiment.kind == 'generator':
      vocabulary = _vocabulary(experiment, workdir)
    length = experiment.text.max_length
    tubelet = experiment.tokenizer.tubelet
    open_pipeline = functools.partial(_pipeline, vocabulary, length, tubelet)
    pipeline = open_pipeline(experiment.data)
    stack.callback(pipeline.close)
    data = experiment.data
    latent_frames, _, _ = experiment.tokenizer.grid(data.frames, data.size)
    _log.info('%s', pipeline.describe(latent_frames))
    task = _task(experiment)
    code = loop.train(
      task=task,
      optim=experiment.optim,
      config=experiment.train,
      batches=pipeline.iterate,
      data_fingerprint=_fingerprint(pipeline, vocabulary),
      experiment=config_lib.to_dict(experiment),
      workdir=workdir,
      mesh=mesh,
      files=_files(experiment, vocabulary),
      writers=_writers(workdir, fps=experiment.data.fps),
      evaluators=evaluators.build(
        experiment,
        task=task,
        open_pipeline=open_pipeline,
        vocabulary=vocabulary,
        mesh=mesh,
      ),
      seed=experiment.seed,
    )
    if code == 0 and jax.process_index() == 0:
      _log.info(_NEXT[experiment.kind], shlex.quote(str(workdir)))
    return code


@contextlib.contextmanager
def _joined_processes() -> Any:
  """Join the processes of a job that a launcher has started, if it has."""
  import jax

  coordinator = os.environ.get('PHENAKI_COORDINATOR')
  if coordinator is None:
    yield
    return
  jax.distributed.initialize(
    coordinator_address=coordinator,
    num_processes=int(os.environ['PHENAKI_NUM_PROCESSES']),
    process_id=int(os.environ['PHENAKI_PROCESS_INDEX']),
  )
  try:
    yield
  finally:
    jax.distributed.shutdown()


def _vocabulary(
  experiment: 'Experiment', workdir: pathlib.Path
) -> 'SentencePieceVocabulary':
  """Read the run's vocabulary, or learn one at its first start."""
  from phenaki_jax.runs.experiment import VOCABULARY_FILE
  from phenaki_jax.text.vocab import SentencePieceVocabulary

  path = workdir / VOCABULARY_FILE
  if path.is_file() and any((workdir / 'checkpoints').glob('[0-9]*')):
    return SentencePieceVocabulary.from_file(path)
  # Every process learns the same one; the first keeps it.
  tubelet = experiment.tokenizer.tubelet
  pipeline = _pipeline(None, 1, tubelet, experiment.data)
  captions = pipeline.captions(_NUM_CAPTIONS)
  return SentencePieceVocabulary.learn(captions, experiment.text.vocab_size)


def _pipeline(
  vocabulary: 'SentencePieceVocabulary | None',
  length: int,
  tubelet: int,
  data: 'DataConfig',
) -> 'Pipeline':
  """Open data; without a vocabulary every text is empty."""
  import jax
  import numpy as np

  from phenaki_jax.data.pipeline import Pipeline
  from phenaki_jax.text.vocab import EOS_ID

  def tokenize(caption: str) -> np.ndarray:
    if vocabulary is None:
      return np.array([EOS_ID], np.int32)
    return vocabulary.encode_padded(caption, length)

  return Pipeline(
    data,
    tokenize,
    tubelet=tubelet,
    text_length=1 if vocabulary is None else length,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )


def _fingerprint(
  pipeline: 'Pipeline', vocabulary: 'SentencePieceVocabulary | None'
) -> str:
  """Name the data and the vocabulary that it is read with."""
  model = vocabulary.model if vocabulary else b''
  return hashlib.sha256(pipeline.fingerprint.encode() + model).hexdigest()


def _task(experiment: 'Experiment') -> Any:
  """Build what is trained."""
  from phenaki_jax.training import generator_task, tokenizer_task

  if experiment.kind == 'tokenizer':
    return tokenizer_task.TokenizerTask(
      config=experiment.tokenizer, weights=experiment.losses
    )
  return generator_task.GeneratorTask(
    config=experiment.generator,
    text=experiment.text,
    tokenizer=experiment.tokenizer,
    tokenizer_params=_tokenizer_params(experiment),
    training=experiment.task,
  )


def _tokenizer_params(experiment: 'Experiment') -> Any:
  """Read the trained tokenizer; refuse one of another shape."""
  from phenaki_jax import config as config_lib
  from phenaki_jax.tokenizer.config import TokenizerConfig
  from phenaki_jax.training import checkpoints

  snapshot = checkpoints.load_params(experiment.tokenizer_dir)
  expected = config_lib.to_dict(experiment.tokenizer)
  saved = config_lib.to_dict(
    config_lib.build(TokenizerConfig, snapshot.config['tokenizer'])
  )
  differing = sorted(
    f'{key} is {saved.get(key)} there and {value} in its config.json'
    for key, value in expected.items()
    if saved.get(key) != value
  )
  if differing:
    raise UserError(
      f'the checkpoint in {experiment.tokenizer_dir} is of another tokenizer: '
      f'{"; ".join(differing)}; train it again or name another tokenizer_dir'
    )
  return snapshot.params


def _files(
  experiment: 'Experiment', vocabulary: 'SentencePieceVocabulary | None'
) -> dict[str, bytes]:
  """Return what the run's directory holds beside the checkpoints, by name."""
  from phenaki_jax import config as config_lib
  from phenaki_jax.runs.experiment import CONFIG_FILE, VOCABULARY_FILE

  files = {CONFIG_FILE: config_lib.to_json(experiment).encode()}
  if vocabulary is not None:
    files[VOCABULARY_FILE] = vocabulary.model
  return files


def _writers(workdir: pathlib.Path, *, fps: float) -> list[Any]:
  """Build what takes the run's numbers and samples."""
  from phenaki_jax.training.writers import (
    FileWriter,
    JsonlWriter,
    TensorBoardWriter,
  )

  return [
    JsonlWriter(workdir / 'metrics.jsonl'),
    TensorBoardWriter(workdir / 'tensorboard', fps=fps),
    FileWriter(workdir / 'samples', fps=fps),
  ]
