"""Serve stories over HTTP, with a storyboard page in the browser.

Open the printed address to write a story, watch its frames arrive, roll scenes
again and download the film. Programs use the API of stories, the Open Inference
Protocol or the OpenAI Videos API; docs/serving.md describes all three.

Stories and finished scenes are stored in the folder --data. A server that is
killed goes on where it was when it is started again.

The server listens on this machine only. To let others use it, give --host and a
file with a secret token, which clients send as `Authorization: Bearer TOKEN`.
Every frame carries the label "AI-generated", unless --no-label is given.
"""

import argparse

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra

EXAMPLES = """
  phenaki serve
  phenaki serve runs/story/bundle --port 8080 --data runs/served
  phenaki serve --host 0.0.0.0 --token-file token.txt --json-logs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    'model',
    nargs='?',
    metavar='BUNDLE',
    help='a bundle, or the --workdir of a trained generator; or storyworld '
    '(the default) or lpc, which ship with the package',
  )
  arguments.add_parts(parser)
  parser.add_argument(
    '--data',
    default='runs/served',
    metavar='DIR',
    help='folder of stories, scenes and films (default %(default)s)',
  )
  parser.add_argument(
    '--host', default='127.0.0.1', help='address (default %(default)s)'
  )
  arguments.add_numbers(
    parser,
    ('port', arguments.count, 8000, '0 chooses a free one'),
    ('workers', arguments.positive, 2, 'stories made at the same time'),
    ('queue', arguments.positive, 32, 'stories or requests that wait'),
    ('max-frames', arguments.positive, 2400, 'frames of a story'),
    ('deadline', arguments.seconds, 3600.0, 'seconds of a story or request'),
    ('drain', arguments.positive, 30, 'seconds to finish when stopped'),
  )
  parser.add_argument(
    '--batch-sizes',
    type=_sizes,
    metavar='N,N',
    help='batch sizes that are compiled (default: 1 on CPUs, else 1,2,4,8)',
  )
  parser.add_argument(
    '--token-file', metavar='FILE', help='file with the token of clients'
  )
  parser.add_argument(
    '--no-label', action='store_true', help='frames without "AI-generated"'
  )
  arguments.add_origin(parser)
  parser.add_argument(
    '--json-logs', action='store_true', help='log one JSON object per line'
  )


def _sizes(text: str) -> tuple[int, ...]:
  return tuple(arguments.positive(one) for one in text.split(','))


def run(args: argparse.Namespace) -> None:
  """Serve until a signal."""
  import pathlib

  modules = (
    *('fastapi', 'prometheus_client', 'python_multipart', 'starlette'),
    'uvicorn',
  )
  check_extra('the server', *modules, extra='serve')
  import jax

  from phenaki_jax.files.paths import local_path
  from phenaki_jax.runs.open import load
  from phenaki_jax.serving import logs, server
  from phenaki_jax.serving.limits import Limits

  data = local_path(args.data, '--data')
  token = ''
  if args.token_file:
    token = pathlib.Path(args.token_file).read_text('utf-8').strip()
    if len(token) < 16:
      raise UserError(
        f'the token in {args.token_file} has {len(token)} characters; use at '
        'least 16, such as those of `openssl rand -hex 16`'
      )
  if args.json_logs:
    logs.use_json()
  sizes = args.batch_sizes
  if sizes is None:
    sizes = (1,) if jax.default_backend() == 'cpu' else (1, 2, 4, 8)
  server.serve(
    load(args.model, tokenizer=args.tokenizer, encoder=args.encoder),
    data,
    host=args.host,
    port=args.port,
    token=token,
    limits=Limits(
      queue=args.queue, frames=args.max_frames, seconds=args.deadline
    ),
    labelled=not args.no_label,
    batch_sizes=sizes,
    workers=args.workers,
    drain=args.drain,
    **arguments.origin(args),
  )
