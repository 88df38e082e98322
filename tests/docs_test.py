"""What the pages say of the tests is there."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_every_test_that_the_page_of_the_neighbours_names_exists():
  page = (ROOT / 'docs' / 'neighbours.md').read_text()
  table = page.split('## Tests of each capability')[1].split('\n## ')[0]
  rows = [line for line in table.splitlines() if line.startswith('| ')]
  assert len(rows) == 2 + 21
  named = re.findall(r'`(tests/[\w/]+\.py)::(\w+)`', table)
  assert len(named) > 40 and all('::' in row for row in rows[2:])
  missing = [
    f'{path}::{name}'
    for path, name in named
    if not re.search(rf'^def {name}\(', (ROOT / path).read_text(), re.M)
  ]
  assert not missing
  scripts = re.findall(r'`(benchmarks/\w+\.py)`', table)
  assert scripts and all((ROOT / path).is_file() for path in scripts)
