"""Encode the training data of a generator once, for all its trainings.

With --tokens, the examples of the first --steps training steps become tokens of
the trained tokenizer. Training then reads them instead of pixels, with the same
losses: --set data.token_cache=OUT. A training of more steps repeats the
examples in other orders. With --text, the different captions become vectors of
a pretrained T5 encoder, a checkpoint of T5X or Hugging Face; training reads
them with --set text.source=OUT. An interrupted command goes on when it is run
again, and --tokens with more --steps extends the cache.
"""

import argparse
import logging
import shlex
from typing import Any

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki encode --tokens --config configs/generator/tiny.py \\
    --set tokenizer_dir=runs/tokenizer --out runs/tokens
  phenaki train --config configs/generator/tiny.py --workdir runs/generator \\
    --set tokenizer_dir=runs/tokenizer --set data.token_cache=runs/tokens
  phenaki encode --text --config configs/generator/lpc.py --out runs/text \\
    --encoder t5_1_1_small/checkpoint_1000000 --vocabulary spiece.model --int8
"""

_ENCODER = 'checkpoint of a T5 encoder'
_VOCABULARY = 'its SentencePiece model'
_LENGTH = 'token ids of a caption, with its end (default: text.max_length)'
_CAPTIONS = 'captions to read (default: as many as train.steps can need)'
_SEQIO = 'a Task of seqio whose captions replace those of the data'
_STEPS = 'training steps whose examples are encoded (default: train.steps)'
# The options of each kind of cache: name, type, placeholder and help.
_OPTIONS: dict[str, tuple[tuple[str, Any, str, str], ...]] = {
  'tokens': (('steps', arguments.positive, 'N', _STEPS),),
  'text': (
    ('encoder', str, 'PATH', _ENCODER),
    ('vocabulary', str, 'FILE', _VOCABULARY),
    ('length', arguments.positive, 'N', _LENGTH),
    ('captions', arguments.positive, 'N', _CAPTIONS),
    ('seqio-task', str, 'FILE.py:NAME', _SEQIO),
  ),
}

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  kinds = parser.add_mutually_exclusive_group(required=True)
  kinds.add_argument(
    '--tokens', action='store_true', help='write tokens of clips and images'
  )
  kinds.add_argument(
    '--text', action='store_true', help='write vectors of captions'
  )
  arguments.add_config(parser)
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the cache'
  )
  groups = {}
  for kind, options in _OPTIONS.items():
    groups[kind] = parser.add_argument_group(f'with --{kind}')
    for name, type_, shown, words in options:
      groups[kind].add_argument(
        f'--{name}', type=type_, metavar=shown, help=words
      )
  groups['text'].add_argument(
    '--int8',
    action='store_true',
    default=None,
    help='keep int8 vectors with a scale each',
  )


def run(args: argparse.Namespace) -> None:
  """Write one cache."""
  from phenaki_jax import sharding
  from phenaki_jax.runs import experiment as experiment_lib
  from phenaki_jax.runs.encode import encode_tokens
  from phenaki_jax.runs.encode_text import TextRequest, encode_text

  _check_options(args)
  if args.text and not (args.encoder and args.vocabulary):
    raise UserError('--text needs --encoder PATH and --vocabulary FILE')
  experiment = experiment_lib.resolve(args.config, args.set)
  mesh = sharding.make_mesh(experiment.mesh)
  if args.text:
    given = arguments.fields(args, TextRequest)
    request = TextRequest(
      **{name: value for name, value in given.items() if value is not None}
    )
    info = encode_text(experiment, args.out, request, mesh=mesh)
    _log.info(
      '%s holds the vectors of %d captions. Train on them with the same config '
      'and --set text.source=%s',
      args.out,
      sum(info.sizes.values()),
      shlex.quote(args.out),
    )
    return
  steps = args.steps or experiment.train.steps
  info = encode_tokens(experiment, args.out, steps=steps, mesh=mesh)
  held = ' and '.join(f'{n} {part}' for part, n in info.sizes.items())
  _log.info(
    '%s holds the tokens of %s. Train on them with the same config and --set '
    'data.token_cache=%s',
    args.out,
    held,
    shlex.quote(args.out),
  )


def _check_options(args: argparse.Namespace) -> None:
  """Refuse options that only the other kind of cache has."""
  kind, other = ('text', 'tokens') if args.text else ('tokens', 'text')
  names = [name.replace('-', '_') for name, *_ in _OPTIONS[other]]
  names += ['int8'] if other == 'text' else []
  given = [name for name in names if getattr(args, name) is not None]
  if given:
    option = given[0].replace('_', '-')
    raise UserError(
      f'--{option} belongs to --{other}, but --{kind} is given; leave it out'
    )
