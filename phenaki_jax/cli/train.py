"""Train a tokenizer, a generator on its tokens, a diffusion model or a reader.

The same command with the same --workdir resumes from the last checkpoint. The
run directory holds config.json, vocab.model (of a generator), checkpoints/,
metrics.jsonl, tensorboard/, samples/ and events/. Exit code 75 means that a
signal stopped the run after it was saved; the same command resumes it.
"""

import argparse
import logging

from phenaki_jax import config
from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki train --config configs/tokenizer/tiny.py --workdir runs/tokenizer
  phenaki train --config configs/generator/tiny.py --workdir runs/generator \\
    --set tokenizer_dir=runs/tokenizer
  phenaki train --config configs/tokenizer/tiny.py --workdir runs/quick \\
    --set train.steps=20 --set data.batch_size=4
"""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments; everything else is a field of the config."""
  arguments.add_config(parser)
  parser.add_argument(
    '--workdir', required=True, metavar='DIR', help='the run directory'
  )


def run(args: argparse.Namespace) -> int:
  """Train one run."""
  # JAX takes seconds, and is imported when the file is there.
  config.find(args.config)
  from phenaki_jax.runs import experiment as experiment_lib
  from phenaki_jax.runs import train
  from phenaki_jax.runs.next_step import next_step

  experiment = experiment_lib.resolve(args.config, args.set)
  with train.joined_processes() as is_first:
    code = train.train(experiment, args.workdir)
    if code == 0 and is_first:
      following = next_step(experiment, args.config, args.workdir)
      _log.info('Next, %s', following)
  return code
