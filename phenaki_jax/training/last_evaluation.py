"""Whether the evaluation of the last step was finished.

The last checkpoint is saved before the evaluators run, so that the steps alone
do not show whether a stopped run has something left to do. A small file in the
run directory does, until the last evaluator is done.
"""

import json

import jax
from etils import epath

from phenaki_jax.files.atomic import replace_file

_FILE = 'evaluation_pending.json'


class LastEvaluation:
  """The number of evaluators that are done at the last step, on disk."""

  def __init__(self, workdir: epath.PathLike, *, step: int) -> None:
    """Set the file; nothing is read or written yet.

    Args:
      workdir: the run directory.
      step: the last step.
    """
    self._path = epath.Path(workdir) / _FILE
    self._step = step

  def done(self) -> int | None:
    """Return how many evaluators are done, or None if nothing is pending."""
    try:
      content = json.loads(self._path.read_text())
      return int(content['done']) if content['step'] == self._step else None
    except (OSError, ValueError, KeyError, TypeError):
      return None

  def record(self, done: int) -> None:
    """Record that this many evaluators are done and others are pending."""
    if jax.process_index() == 0:
      content = {'step': self._step, 'done': done}
      replace_file(self._path, json.dumps(content).encode())

  def finish(self) -> None:
    """Record that nothing is pending."""
    if jax.process_index() == 0:
      self._path.unlink(missing_ok=True)
