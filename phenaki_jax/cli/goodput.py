"""Tell on what the time of a run was spent, over all its starts.

Goodput is the share of the time that was spent on steps that count; steps that
had to be done again do not. The numbers come from the events/ of the run
directory, also while the run goes on. With --out they are drawn.
"""

import argparse

EXAMPLES = """
  phenaki goodput runs/generator
  phenaki goodput runs/generator --out runs/goodput.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    'workdir', metavar='DIR', help='the --workdir of a training'
  )
  parser.add_argument('--out', metavar='FILE', help='figure to write, a PNG')


def run(args: argparse.Namespace) -> None:
  """Print the table, and draw the figure if it was asked for."""
  from phenaki_jax.files.atomic import replace_file
  from phenaki_jax.files.paths import checked_path
  from phenaki_jax.media.png import encode_png
  from phenaki_jax.runs import goodput, goodput_figure

  path = checked_path(args.out, '.png') if args.out else None
  result = goodput.measure(goodput.read(args.workdir))
  print(goodput.to_markdown(result))
  if path is not None:
    replace_file(path, encode_png(goodput_figure.draw(result)))
    print(path)
