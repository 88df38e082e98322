"""What the pages say of the tests is there."""

import fnmatch
import pathlib
import re

import safetensors

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_every_test_that_the_page_of_the_neighbours_names_exists():
  page = (ROOT / 'docs' / 'neighbours.md').read_text()
  table = page.split('## Tests of each capability')[1].split('\n## ')[0]
  rows = [line for line in table.splitlines() if line.startswith('| ')]
  assert len(rows) == 2 + 22
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


def test_extras_are_quoted_so_that_every_shell_takes_them():
  found = []
  for pattern in ('*.md', 'docs/*.md', 'notebooks/*', 'phenaki_jax/**/*.py'):
    for path in ROOT.glob(pattern):
      text = path.read_text().replace('\\"', '"')
      found += re.findall(r'pip install[-\w\s]* (\S*\[[^\s`]*)', text)
  assert len(found) > 15
  bad = [one for one in found if not re.match(r'"[\w.-]+\[[\w,{}]+\]"', one)]
  assert not bad


def test_arrays_have_the_names_that_the_page_of_the_server_gives():
  page = (ROOT / 'docs' / 'serving.md').read_text()
  table = page.split('| file | names | arrays of |')[1].split('\n\n')[0]
  patterns = re.findall(r'`([\w/]+(?:/\*|_\w+|positions))`', table)
  found = set()
  for folder in ('reference', 'reference/lpc'):
    for part in ('tokenizer', 'generator'):
      path = ROOT / 'phenaki_jax' / folder / f'{part}.safetensors'
      with safetensors.safe_open(path, 'np') as file:
        found |= set(file.keys())
  for path in (ROOT / 'tests' / 'golden' / 'params').iterdir():
    found |= {line.split()[0] for line in path.read_text().splitlines()[:-1]}
  named = {p: fnmatch.filter(found, p) for p in patterns if p != 'critic/*'}
  assert len(patterns) == 19 and all(named.values()), named
  assert found == {name for names in named.values() for name in names}
