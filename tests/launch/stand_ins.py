"""Scripted programs that play those of clouds.

A stand-in is a shell script on the PATH. It records every call in the file
`calls` of its folder, and answers as the test wrote it.
"""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch'


class Programs:
  """The stand-ins of a test, and the folder of all they read and write."""

  def __init__(self, folder):
    self.folder = folder
    (folder / 'bin').mkdir()

  def add(self, name, script='', *, is_recorded=True):
    path = self.folder / 'bin' / name
    record = f'echo "{name} $*" >> "$STAND_IN/calls"\n' * is_recorded
    path.write_text(f'#!/bin/bash\n{record}{script}')
    path.chmod(0o755)

  @property
  def calls(self):
    path = self.folder / 'calls'
    return path.read_text().splitlines() if path.exists() else []

  @property
  def environment(self):
    return {
      **os.environ,
      'STAND_IN': str(self.folder),
      'PATH': f'{self.folder}/bin:{os.environ["PATH"]}',
    }


def document(text):
  """Return the file that a dry run writes."""
  _, _, rest = text.partition("<<'END'\n")
  return rest.partition('\nEND\n')[0] + '\n'
