"""Encode the training examples of a generator once, for all its trainings.

With --tokens, the examples of the first --steps training steps become tokens of
the trained tokenizer. Training then reads them instead of pixels, with the same
losses: --set data.cache=OUT. A training of more steps repeats the examples in
other orders. An interrupted command goes on when it is run again, and the same
command with more --steps extends the cache.
"""

import argparse
import logging
import shlex

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki encode --tokens --config configs/generator/tiny.py \\
    --set tokenizer_dir=runs/tokenizer --out runs/tokens
  phenaki train --config configs/generator/tiny.py --workdir runs/generator \\
    --set tokenizer_dir=runs/tokenizer --set data.cache=runs/tokens
"""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  kind = parser.add_mutually_exclusive_group(required=True)
  kind.add_argument(
    '--tokens', action='store_true', help='write tokens of clips and images'
  )
  arguments.add_config(parser)
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the cache'
  )
  arguments.add_numbers(
    parser,
    (
      'steps',
      arguments.positive,
      None,
      'training steps whose examples are encoded (default: train.steps)',
    ),
  )


def run(args: argparse.Namespace) -> None:
  """Write one cache."""
  from phenaki_jax import sharding
  from phenaki_jax.runs import encode
  from phenaki_jax.runs import experiment as experiment_lib

  experiment = experiment_lib.resolve(args.config, args.set)
  steps = args.steps or experiment.train.steps
  mesh = sharding.make_mesh(experiment.mesh)
  info = encode.encode_tokens(experiment, args.out, steps=steps, mesh=mesh)
  held = ' and '.join(f'{n * steps} {part}' for part, n in info.counts.items())
  _log.info(
    '%s holds the tokens of %s. Train on them with the same config and --set '
    'data.cache=%s',
    args.out,
    held,
    shlex.quote(args.out),
  )
