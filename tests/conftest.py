"""Eight virtual devices, strict shapes, and the same random bits everywhere."""

import os
import signal

# Inherited by the subprocesses that tests start, which choose their own number
# of devices; the settings below hold in this process only.
os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests send them, and both are ignored in some shells: under `nohup`, and in
# the background.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

import dataclasses  # noqa: E402
import gc  # noqa: E402
import inspect  # noqa: E402
import typing  # noqa: E402

import beartype  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_threefry_partitionable', True)
# What is traced lives long, so that Python would look through all its objects
# every few seconds, although they are hardly ever garbage.
gc.set_threshold(700, 10, 100)
# For what modules of tests compile when they are imported; each test sets it.
jax.config.update('jax_disable_most_optimizations', True)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler  # noqa: E402

# Without optimisations, XLA takes the least time with its older emitters, and
# when it does not split a program into parts. No public setting of JAX holds
# for all programs and can be changed between tests.
QUICK = {
  'xla_cpu_use_fusion_emitters': False,
  'xla_cpu_parallel_codegen_split_count': 1,
}
_FLAGS = os.environ.get('XLA_FLAGS', '')
_QUICK_FLAGS = ' '.join(
  [_FLAGS, *(f'--{name}={value}'.lower() for name, value in QUICK.items())]
)
_get_compile_options = compiler.get_compile_options


def _get_quick_options(*args, **kwargs):
  options = _get_compile_options(*args, **kwargs)
  if jax.config.read('jax_disable_most_optimizations'):
    options.env_option_overrides = [
      *options.env_option_overrides,
      *QUICK.items(),
    ]
  return options


compiler.get_compile_options = _get_quick_options


_with_shapes = jaxtyping.jaxtyped
# Readers of foreign files turn a TypeError into a sentence, as they do what
# Python raises of a wrong type where nothing is checked.
_with_types = beartype.beartype(
  conf=beartype.BeartypeConf(violation_type=TypeError)
)


def _names_shapes(hint):
  """Return whether a type is one of jaxtyping, or contains one."""
  parts = hint if isinstance(hint, list) else typing.get_args(hint)
  is_shape = getattr(hint, '__module__', '').startswith('jaxtyping')
  return is_shape or any(map(_names_shapes, parts))


def _checked(what=None, *, typechecker):
  """Check the types of a function, and its shapes where it names any.

  The decorator of jaxtyping binds the arguments of each call three times, which
  takes longer than most functions without shapes.
  """
  if what is None:
    return lambda what: _checked(what, typechecker=typechecker)
  if inspect.isclass(what):
    if dataclasses.is_dataclass(what) and '__init__' in vars(what):
      what.__init__ = _checked(what.__init__, typechecker=typechecker)
    return what
  try:
    hints = typing.get_type_hints(what)
  except (NameError, TypeError):
    # A class that is not defined yet; a property, a class method.
    return _with_shapes(what, typechecker=typechecker)
  if any(map(_names_shapes, hints.values())):
    return _with_shapes(what, typechecker=typechecker)
  return _with_types(what) if hints else what


# What the option --jaxtyping-packages decorates all functions with.
jaxtyping.jaxtyped = _checked


def _drawn(task, rng):
  """Draw the parameters of a task, so that every input matters."""
  from phenaki_jax import sharding

  def weights(path, leaf):
    # Branches begin at zero, so that fresh models see neither text nor past.
    mean = float(path[-1].key == 'scale')
    # Large enough for a word to change the likeliest token.
    deviation = 0.1 if leaf.ndim == 1 else 0.6
    return rng.normal(mean, deviation, leaf.shape).astype(leaf.dtype)

  shapes = sharding.unbox(jax.eval_shape(task.init, jax.random.key(0)))
  return jax.tree_util.tree_map_with_path(weights, shapes)


def _is_unoptimized(item):
  marks = {mark.name for mark in item.iter_markers()}
  return 'slow' not in marks or 'unoptimized' in marks


def pytest_collection_modifyitems(items):
  """Begin with the tests that train, so that no long one is the last."""
  items.sort(key=_is_unoptimized)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  """Compile without most optimisations, unless the test is only slow.

  The fast tests, and slow ones with the mark `unoptimized`, spend most of their
  time in the compiler. Other slow ones train, and run what users run.
  """
  is_unoptimized = _is_unoptimized(item)
  if is_unoptimized != jax.config.read('jax_disable_most_optimizations'):
    # Programs that are compiled already are used again whatever the setting is,
    # and have other bits than those of a process of its own.
    jax.clear_caches()
  jax.config.update('jax_disable_most_optimizations', is_unoptimized)
  # For the processes that tests start. This one reads the flags of XLA when it
  # lists its devices.
  jax.devices()
  os.environ['XLA_FLAGS'] = _QUICK_FLAGS if is_unoptimized else _FLAGS
  os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = str(int(is_unoptimized))


@pytest.fixture(scope='session')
def compiled_once(tmp_path_factory):
  """Return variables with which processes keep the programs they compile."""
  return {
    'JAX_COMPILATION_CACHE_DIR': str(tmp_path_factory.mktemp('compiled')),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }


@pytest.fixture(scope='session')
def tiny_sampler():
  """Make an untrained sampler of 16x16 pixels whose every input matters."""
  from phenaki_jax.masked_transformer.config import GeneratorConfig
  from phenaki_jax.sampling.sampler import Models, Sampler
  from phenaki_jax.text.config import TextConfig
  from phenaki_jax.text.vocab import SentencePieceVocabulary
  from phenaki_jax.tokenizer.config import TokenizerConfig
  from phenaki_jax.training.generator_task import GeneratorTask
  from phenaki_jax.training.tokenizer_task import TokenizerTask

  tokenizer = TokenizerConfig(
    width=16,
    num_heads=2,
    mlp_dim=32,
    spatial_layers=1,
    temporal_layers=1,
    fsq_levels=(4, 4),
  )
  generator = GeneratorConfig(
    codebook_size=16,
    grid=(5, 2, 2),
    width=16,
    num_layers=1,
    num_heads=2,
    mlp_dim=32,
  )
  text = TextConfig(
    vocab_size=64,
    width=16,
    num_layers=1,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    max_length=12,
  )
  tasks = {
    'tokenizer': TokenizerTask(config=tokenizer),
    'generator': GeneratorTask(
      config=generator, text=text, tokenizer=tokenizer, tokenizer_params={}
    ),
  }
  rng = np.random.default_rng(0)
  params = {name: _drawn(task, rng) for name, task in tasks.items()}
  vocabulary = SentencePieceVocabulary.learn(
    ['a red circle moves left', 'a blue square', 'it turns green'], 40
  )
  return Sampler(
    models=Models(tokenizer=tokenizer, generator=generator, text=text),
    tokenizer_params=params['tokenizer'],
    generator_params=params['generator'],
    vocabulary=vocabulary,
  )


@pytest.fixture(scope='session')
def ported_sampler(tiny_sampler):
  """Make an untrained sampler with all ports and with layers over time."""
  from phenaki_jax.nn.config import PortsConfig
  from phenaki_jax.training.generator_task import GeneratorTask

  models = tiny_sampler.models
  tokenizer = models.tokenizer
  ports = PortsConfig(
    canvas=True,
    patch=(tokenizer.tubelet, *tokenizer.patch),
    memory=('source', 'content', 'character'),
    memory_every=1,
    scalars=('fps', 'level'),
  )
  generator = dataclasses.replace(
    models.generator, attention='factorized', ports=ports
  )
  task = GeneratorTask(
    config=generator,
    text=models.text,
    tokenizer=tokenizer,
    tokenizer_params={},
  )
  params = _drawn(task, np.random.default_rng(4))
  # Otherwise images in the memory hardly matter beside all else that is drawn.
  params['generator']['blocks']['block_0']['memory']['out']['kernel'] *= 100
  return dataclasses.replace(
    tiny_sampler,
    models=dataclasses.replace(models, generator=generator),
    generator_params=params,
  )


@pytest.fixture(scope='session')
def history_sampler(tiny_sampler):
  """Make an untrained sampler whose network reads a history of 3 scenes."""
  from phenaki_jax.nn.config import PortsConfig
  from phenaki_jax.training.generator_task import GeneratorTask

  models = tiny_sampler.models
  ports = PortsConfig(
    memory=('history',), memory_every=1, memory_slots=3, story=True
  )
  generator = dataclasses.replace(models.generator, ports=ports)
  task = GeneratorTask(
    config=generator,
    text=models.text,
    tokenizer=models.tokenizer,
    tokenizer_params={},
  )
  return dataclasses.replace(
    tiny_sampler,
    models=dataclasses.replace(models, generator=generator),
    generator_params=_drawn(task, np.random.default_rng(1)),
  )


def _bundle(sampler, folder):
  """Write a sampler as a bundle."""
  from phenaki_jax import config as config_lib
  from phenaki_jax.data.config import DataConfig
  from phenaki_jax.export.bundle import reference_dir, write_bundle
  from phenaki_jax.runs.open import StoryModelConfig
  from phenaki_jax.sampling.config import SamplingSettings

  models = sampler.models
  config = StoryModelConfig(
    name='tiny',
    tokenizer=models.tokenizer,
    generator=models.generator,
    text=models.text,
    data=DataConfig(size=(16, 16)),
    sampling=dataclasses.replace(SamplingSettings(), steps=2),
  )
  write_bundle(
    folder,
    tokenizer_params=sampler.tokenizer_params,
    generator_params=sampler.generator_params,
    config=config_lib.to_dict(config),
    vocabulary=sampler.vocabulary.model,
    model_card='# tiny\n',
    # Otherwise each model that is opened would count its words.
    words=(reference_dir() / 'words.json').read_bytes(),
  )
  return folder


@pytest.fixture(scope='session')
def tiny_bundle(tiny_sampler, tmp_path_factory):
  """Write the untrained sampler as a bundle."""
  return _bundle(tiny_sampler, tmp_path_factory.mktemp('models') / 'tiny')


@pytest.fixture(scope='session')
def write_diffusion(tiny_sampler):
  """Return a function that writes an untrained diffusion model as a bundle."""
  from phenaki_jax.export.bundle import reference_dir, write_bundle
  from phenaki_jax.runs.diffusion import bundle_config
  from phenaki_jax.training.diffusion_task import DiffusionTask

  def write(folder, experiment):
    text = tiny_sampler.models.text
    experiment = dataclasses.replace(experiment, text=text)
    task = DiffusionTask(
      config=experiment.diffusion, text=text, tokenizer=experiment.tokenizer
    )
    write_bundle(
      folder,
      tokenizer_params=None,
      generator_params=_drawn(task, np.random.default_rng(0)),
      config=bundle_config(experiment, folder.name),
      vocabulary=tiny_sampler.vocabulary.model,
      model_card='# pixels\n',
      words=(reference_dir() / 'words.json').read_bytes(),
    )
    return folder

  return write


@pytest.fixture(scope='session')
def diffusion_bundle(write_diffusion, tmp_path_factory):
  """Write an untrained diffusion model of 16x16 pixels as a bundle."""
  from phenaki_jax.runs.experiment import resolve_values

  data = {'size': (16, 16), 'frames': 3, 'context_frames': 1}
  data['sources'] = ({'layout': 'storyworld', 'subset': 'easy'},)
  network = {'patch': 4, 'widths': (8,), 'head_dim': 8, 'condition_width': 8}
  values = {'kind': 'diffusion', 'data': data, 'diffusion': network}
  experiment = resolve_values({**values, 'sampling': {'steps': 2}})
  folder = tmp_path_factory.mktemp('models') / 'diffusion'
  return write_diffusion(folder, experiment)


@pytest.fixture(scope='session')
def ported_bundle(ported_sampler, tmp_path_factory):
  """Write the untrained sampler with all ports as a bundle."""
  return _bundle(ported_sampler, tmp_path_factory.mktemp('models') / 'ported')


@pytest.fixture(scope='session')
def signing(tmp_path_factory):
  """Write the certificates of a signer, of its root, and of another root."""
  import importlib.util
  import pathlib

  path = pathlib.Path(__file__).with_name('certificates.py')
  spec = importlib.util.spec_from_file_location('certificates', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  folder = tmp_path_factory.mktemp('certificates')
  module.write_certificates(folder)
  return folder


@pytest.fixture(scope='session')
def sprite_sheets(tmp_path_factory):
  """Draw sheets in which each layer is a rectangle of its own colour."""
  import hashlib

  from PIL import Image

  from phenaki_jax.lpc import sheets

  folder = tmp_path_factory.mktemp('sheets')
  (folder / 'AUTHORS.txt').write_text('an artist')
  side, rows, columns = sheets.CELL, sheets.ROWS, sheets.COLUMNS
  cells = np.arange(rows * columns).reshape(rows, 1, columns, 1)
  for name in sheets.all_layers():
    top, left, *colour = hashlib.sha256(name.encode()).digest()[:5]
    picture = np.zeros((rows, side, columns, side, 4), np.uint8)
    area = np.s_[:, 8 + top % 24 :, :, 8 + left % 24 :]
    area = picture[area][:, :24, :, :24]
    area[..., :3] = colour
    # The rest of a colour is mixed with what is below it.
    area[..., 3] = 255
    area[:, :6, ..., 3] = 100
    # Each cell differs from all others.
    area[:, 8:10, :, 8:10, 0] = cells % 256
    area[:, 8:10, :, 8:10, 1] = cells // 256
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = Image.fromarray(picture.reshape(rows * side, columns * side, 4))
    sheet.save(path, compress_level=1)
  return folder


@pytest.fixture
def bucket(monkeypatch, tmp_path):
  """Yield the root of an empty bucket in memory, used through `gs://`.

  The same files are in `s3://`.
  """
  import fsspec
  from etils import epath
  from etils.epath import gpath
  from fsspec.implementations.dirfs import DirFileSystem
  from fsspec.implementations.memory import MemoryFileSystem

  class Memory(MemoryFileSystem):
    store: dict = {}
    pseudo_dirs = ['']
    cachable = False

    def _open(self, path, mode='rb', **kwargs):
      # Google Cloud Storage cannot append to an object.
      assert 'a' not in mode
      return super()._open(path, mode, **kwargs)

  class Bucket(DirFileSystem):
    # As in gcsfs and s3fs, paths do not begin with a slash.
    protocol = ('gs', 'gcs', 's3')
    sep = '/'
    cachable = False

    def __init__(self, **_):
      super().__init__('/root', fs=Memory())

  monkeypatch.setenv('EPATH_USE_TF', 'false')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  gpath._is_tf_installed.cache_clear()
  epath.backend.fsspec_backend._get_filesystem.cache_clear()
  for name in ('gcs', 'gs', 's3'):
    fsspec.register_implementation(name, Bucket, clobber=True)
  yield epath.Path('gs://bucket')
  gpath._is_tf_installed.cache_clear()
  epath.backend.fsspec_backend._get_filesystem.cache_clear()


@pytest.fixture
def web(monkeypatch, tmp_path):
  """Serve `tmp_path / 'web'` by HTTP; yield the folder and its URL."""
  import functools
  import http.server
  import threading
  import types

  class Handler(http.server.SimpleHTTPRequestHandler):
    has_ranges = True

    def log_message(self, *_):
      pass

    def do_GET(self):  # noqa: N802
      wanted = self.headers.get('Range')
      path = self.translate_path(self.path)
      if not (self.has_ranges and wanted and os.path.isfile(path)):
        super().do_GET()
        return
      with open(path, 'rb') as file:
        content = file.read()
      first, _, last = wanted.removeprefix('bytes=').partition('-')
      part = content[int(first) : int(last or len(content)) + 1]
      self.send_response(206)
      self.send_header('Content-Length', str(len(part)))
      end = int(first) + len(part) - 1
      self.send_header('Content-Range', f'bytes {first}-{end}/{len(content)}')
      self.end_headers()
      self.wfile.write(part)

  class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
      pass  # A client has read enough.

  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  folder = tmp_path / 'web'
  folder.mkdir()
  server = Server(
    ('127.0.0.1', 0), functools.partial(Handler, directory=str(folder))
  )
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  yield types.SimpleNamespace(
    folder=folder,
    url=f'http://127.0.0.1:{server.server_port}',
    handler=Handler,
  )
  server.shutdown()
  server.server_close()
  thread.join()
