"""Open a trained reader, and measure it on held-out data."""

import dataclasses
import pathlib

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation import reader_accuracy
from phenaki_jax.lpc.sheets import Sheets
from phenaki_jax.reader import reader as reader_lib
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.training import checkpoints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What to measure.

  Attributes:
    reader: the run directory of a reader, or a file of weights.
    sheets: folder of the sheets; empty for those of the run.
    examples: clips, and images, of the table; as many choose the thresholds
      of a run, which has none.
    size: side of the frames, in pixels.
    seed: of the examples of the table; the thresholds use the next one.
    out: file of weights to write; empty for none.
  """

  reader: str
  sheets: str = ''
  examples: int = 200
  size: int = 64
  seed: int = 1
  out: str = ''


def open_reader(path: str) -> reader_lib.Reader:
  """Open the run directory of a reader, or a file of weights.

  Raises:
    UserError: the run is not one of a reader, or the file holds none.
  """
  if not pathlib.Path(path).is_dir():
    return reader_lib.load(path)
  trained = experiment_lib.read(path)
  if trained.kind != 'reader':
    raise UserError(
      f'{path} is the run of a {trained.kind}; name the run of a reader'
    )
  snapshot = checkpoints.load_params(path)
  config = config_lib.build(ReaderConfig, snapshot.config['reader'])
  return reader_lib.Reader(config=config, params=snapshot.params)


def measure(request: Request) -> reader_accuracy.Scores:
  """Choose missing thresholds, write the weights, and score the reader.

  Raises:
    UserError: the reader or the sheets are missing.
  """
  reader = open_reader(request.reader)
  folder = request.sheets or reader.config.sheets
  if not folder:
    raise UserError(
      f'{request.reader} is a file of weights, which name no sheets; give '
      '--sheets DIR, the folder of the sheets'
    )
  sheets = Sheets(folder)
  draw = {'number': request.examples, 'size': request.size}
  if not reader.thresholds:
    thresholds = reader_accuracy.choose_thresholds(
      reader, sheets, seed=request.seed + 1, **draw
    )
    reader = dataclasses.replace(reader, thresholds=thresholds)
  if request.out:
    reader.save(request.out)
  return reader_accuracy.score(reader, sheets, seed=request.seed, **draw)
