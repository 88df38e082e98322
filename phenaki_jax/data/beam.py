"""Ingestion on many machines with Apache Beam.

A part of a set is written by one call of `ingest.write_part`, which only needs
the places of the manifest and of the set, so that Beam has no data to move.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

from phenaki_jax.data import ingest
from phenaki_jax.errors import UserError


def runner(name: str, flags: Sequence[str] = ()) -> ingest.Run:
  """Return what writes the parts of a set with a runner of Beam.

  Args:
    name: of the runner, such as 'DirectRunner'.
    flags: of the runner.

  Raises:
    UserError: Beam is not installed.
  """
  if importlib.util.find_spec('apache_beam') is None:
    raise UserError(
      f'--runner is {name}, but apache-beam is not installed; docs/data.md '
      'says how to make an environment that has it'
    )
  import apache_beam
  from apache_beam.options.pipeline_options import PipelineOptions

  def run(tasks: list[tuple[Any, ...]]) -> None:
    options = PipelineOptions([f'--runner={name}', *flags])
    with apache_beam.Pipeline(options=options) as pipeline:
      _ = (
        pipeline
        | apache_beam.Create(tasks)
        # Without it, one worker would be given all parts.
        | apache_beam.Reshuffle()
        | apache_beam.MapTuple(ingest.write_part)
      )

  return run
