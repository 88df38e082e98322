"""Every notebook: clean on disk, thin, and it runs."""

import ast
import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

notebooks = pytest.mark.parametrize(
  'path', sorted((ROOT / 'notebooks').glob('*.ipynb')), ids=lambda p: p.name
)


def _read(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert cells
  return notebook, cells


@notebooks
def test_notebook_is_clean_and_thin(path):
  _, cells = _read(path)
  for cell in cells:
    assert not cell.outputs and cell.execution_count is None
    tree = ast.parse(cell.source, feature_version=(3, 11))
    # What a notebook would define belongs into the library, under test.
    for node in ast.walk(tree):
      assert not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
      )


@pytest.mark.slow
@notebooks
def test_notebook_runs(path, monkeypatch):
  monkeypatch.setenv('PHENAKI_NOTEBOOK_SMOKE', '1')
  notebook, cells = _read(path)
  client = nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(ROOT)}}
  )
  client.execute()
  outputs = [output for cell in cells for output in cell.outputs]
  assert any('image/png' in output.get('data', {}) for output in outputs)
