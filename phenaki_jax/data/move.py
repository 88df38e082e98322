"""Correction of a manifest after the folders of its data were moved."""

import copy
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from phenaki_jax.data import build, schema
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data.sources import base
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, data_path, real_path

_SAMPLES = 3  # records of a source that identify its folder


def repoint(
  manifest: manifest_lib.Manifest, folder: str | DataPath
) -> dict[str, str]:
  """Make a manifest refer to data that were moved to a folder.

  The data of `/old/laion` are looked for in FOLDER/old/laion, FOLDER/laion and
  FOLDER itself, and identified by the hash of their first records. A source
  that is not found there keeps its place if its data are still there.

  Args:
    manifest: the manifest, whose header and report are rewritten.
    folder: where the data are now.

  Returns:
    The new folders by the old ones.

  Raises:
    UserError: the data of a source are not found, or nothing was moved.
  """
  target = data_path(folder).absolute()
  header = copy.deepcopy(manifest.header)
  moved: dict[str, str] = {}
  for number, spec in enumerate(header['sources']):
    if 'folder' not in spec:
      continue  # StoryWorld has no files.
    old = data_path(spec['folder'])
    samples = manifest.first_records(number, _SAMPLES)
    parts = pathlib.PurePosixPath(spec['folder']).parts
    tails = [parts[start:] for start in range(1, len(parts) + 1)]
    for place in [*(target.joinpath(*tail) for tail in tails), old]:
      if _holds(spec, place, samples):
        break
    else:
      raise UserError(
        f'neither {target} nor {old} holds {samples[0].path} as it was when '
        'the manifest was built; name the folder that the data were moved to'
      )
    if place != old:
      moved[str(old)] = spec['folder'] = real_path(place)
  if not moved:
    raise UserError(
      f'{target} holds no data of {manifest.folder} that were moved; name the '
      'folder that the data were moved to'
    )
  report = json.loads((manifest.folder / manifest_lib.REPORT).read_bytes())
  for source in report['sources']:
    source['folder'] = moved.get(source['folder'], source['folder'])
  build.write_json(manifest.folder / manifest_lib.REPORT, report)
  build.write_json(manifest.folder / manifest_lib.HEADER, header)
  return moved


def _holds(
  spec: dict[str, Any], place: DataPath, samples: Sequence[schema.Record]
) -> bool:
  """Return whether a folder holds one of the records, unchanged."""
  try:
    reader = manifest_lib.open_reader({**spec, 'folder': str(place)}, place)
  except UserError:
    return False
  assert isinstance(reader, base.TimedReader)
  for record in samples:
    try:
      reader.read(record)
    except schema.DecodeError:
      continue
    return True
  return False
