"""Export a sampler as StableHLO programs, which run without this package.

Four programs take the weights as their first argument, for any batch size:
`text` encodes prompts, `encode` turns context frames into tokens, `sample`
uncovers tokens and `decode` turns tokens into frames. The number of decoding
steps, the schedule and the order are compiled into `sample`, and so is guidance
of 0, which takes one forward pass a step. `jax.export` promises to load
programs for six months; the manifest therefore holds the versions and the
command that exports them again.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import export as jax_export
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

import phenaki_jax
from phenaki_jax import rng
from phenaki_jax.errors import UserError
from phenaki_jax.export import loader
from phenaki_jax.export.bundle import flatten_params
from phenaki_jax.files.atomic import staged_folder
from phenaki_jax.files.paths import local_path
from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.sampling.config import DecodeConfig, SamplingSettings
from phenaki_jax.sampling.sampler import Guided, Models, Sampler, uncover_tokens
from phenaki_jax.tokenizer.cvivit import CViViT

PLATFORMS = ('cpu', 'cuda', 'tpu')
FORMAT = 'phenaki_jax programs'
LOADER = 'load.py'
# Both run the same program, but are compiled for other batch sizes and inputs;
# a value between two integers may be rounded to either.
_TOLERANCE = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
  """One function to export.

  Attributes:
    function: takes weights and the inputs.
    weights: 'tokenizer' or 'generator'.
    inputs: name, shape and dtype of each input; shapes as `jax.export`
      writes them, with `b` for the batch.
  """

  function: Callable[..., Any]
  weights: str
  inputs: Sequence[tuple[str, str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  """What is exported.

  Attributes:
    sampler: the model.
    size: height and width of frames.
    fps: frames per second, for the manifest.
    context_frames: K.
    settings: see `make_programs`.
    vocabulary: the bytes of the SentencePiece model.
    origin: JSON values that describe the model.
    export_again: the command that writes the same folder.
  """

  sampler: Sampler
  size: tuple[int, int]
  fps: float
  context_frames: int
  settings: SamplingSettings
  vocabulary: bytes
  origin: Mapping[str, Any]
  export_again: str

  @property
  def weights(self) -> dict[str, Any]:
    """Return the parameters by the name that programs have for them."""
    return {
      'tokenizer': self.sampler.tokenizer_params,
      'generator': self.sampler.generator_params,
    }

  def programs(self) -> Mapping[str, 'Program']:
    """Return the programs by name; see `make_programs`."""
    return make_programs(
      self.sampler.models,
      self.settings,
      size=self.size,
      context_frames=self.context_frames,
    )


def make_programs(
  models: Models,
  settings: SamplingSettings,
  *,
  size: tuple[int, int],
  context_frames: int,
) -> Mapping[str, Program]:
  """Return the programs of a model by name.

  Args:
    models: settings of the networks.
    settings: sampling settings; steps, schedule, order and guidance of 0 are
      compiled in.
    size: height and width of frames.
    context_frames: K, the number of frames that `encode` takes.

  Raises:
    UserError: the tokenizer cannot make frames of that size, the generator
      has other ports than for a history, or the settings have a negative text
      or temporal guidance.
  """
  if settings.negative:
    raise UserError(
      f'sampling.negative is {settings.negative!r}, which programs do not '
      'take; export a model without it'
    )
  if settings.time_guidance != 1.0:
    raise UserError(
      f'sampling.time_guidance is {settings.time_guidance:g}, which programs '
      'do not take; export a model with 1'
    )
  ports = models.generator.ports
  # Without a history, each scene is generated as the first one of a story is.
  if ports.canvas or {*ports.memory} - {'history'} or ports.scalars:
    raise UserError(
      'the generator has ports (canvas, memory or scalars), whose conditions '
      'programs do not take; export a model without them, or a bundle: '
      'phenaki export --run DIR'
    )
  generator = Generator(config=models.generator, text=models.text)
  tokenizer = CViViT(models.tokenizer)
  grid = models.tokenizer.grid(
    1 + (models.generator.grid[0] - 1) * models.tokenizer.tubelet, size
  )
  config = DecodeConfig(
    steps=settings.steps, schedule=settings.schedule, order=settings.order
  )

  def text(
    weights: Any, texts: Int[Array, 'B L']
  ) -> tuple[Float[Array, '2 B L E'], Bool[Array, '2 B L']]:
    both = generator.encode_with_empty(weights, texts)
    shape = (2, *texts.shape)
    return both.vectors.reshape(*shape, -1), both.mask.reshape(shape)

  def encode(
    weights: Any, frames: UInt8[Array, 'B T H W C']
  ) -> Int[Array, 'B t h w']:
    return tokenizer.apply(
      {'params': weights}, normalise(frames), method='encode'
    )

  def sample(
    weights: Any,
    vectors: Float[Array, '2 B L E'],
    mask: Bool[Array, '2 B L'],
    tokens: Int[Array, 'B t h w'],
    known: Bool[Array, 'B t h w'],
    seeds: UInt32[Array, 'B'],
    values: Float[Array, 'B 3'],
  ) -> Int[Array, 'B t h w']:
    texts = EncodedTexts(
      vectors=vectors.reshape(-1, *vectors.shape[2:]),
      mask=mask.reshape(-1, mask.shape[2]),
    )
    keys = jax.vmap(rng.root)(seeds)
    state = uncover_tokens(
      models,
      config,
      weights,
      texts,
      tokens,
      known,
      keys,
      values,
      guided=Guided.by(settings),
    )
    return jnp.reshape(state.ids, tokens.shape)

  def decode(
    weights: Any, tokens: Int[Array, 'B t h w']
  ) -> UInt8[Array, 'B T H W C']:
    return to_uint8(
      tokenizer.apply({'params': weights}, tokens, method='decode')
    )

  length, width = models.text.max_length, models.generator.text_width
  width = models.text.width if width is None else width
  area = ','.join(map(str, grid))
  frames = f'b,{context_frames},{size[0]},{size[1]},3'
  return {
    'text': Program(
      function=text,
      weights='generator',
      inputs=[('texts', f'b,{length}', 'int32')],
    ),
    'encode': Program(
      function=encode,
      weights='tokenizer',
      inputs=[('frames', frames, 'uint8')],
    ),
    'sample': Program(
      function=sample,
      weights='generator',
      inputs=[
        ('vectors', f'2,b,{length},{width}', 'float32'),
        ('mask', f'2,b,{length}', 'bool'),
        ('tokens', f'b,{area}', 'int32'),
        ('known', f'b,{area}', 'bool'),
        ('seeds', 'b', 'uint32'),
        ('values', 'b,3', 'float32'),
      ],
    ),
    'decode': Program(
      function=decode,
      weights='tokenizer',
      inputs=[('tokens', f'b,{area}', 'int32')],
    ),
  }


def lower(
  program: Program, weights: Any, platforms: Sequence[str] = PLATFORMS
) -> jax_export.Exported:
  """Lower a program for all platforms and any batch size.

  Args:
    program: the program.
    weights: arrays, of which only shapes and dtypes are used.
    platforms: of `PLATFORMS`.
  """
  scope = jax_export.SymbolicScope()
  arrays = [
    jax.ShapeDtypeStruct(
      jax_export.symbolic_shape(shape, scope=scope), jnp.dtype(dtype)
    )
    for _, shape, dtype in program.inputs
  ]
  shapes = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), weights
  )
  exported = jax_export.export(
    jax.jit(program.function), platforms=list(platforms)
  )
  return exported(shapes, *arrays)


def write_programs(path: str | os.PathLike[str], source: Source) -> float:
  """Export all programs to a folder, and run them in another process.

  The folder appears only if that process gives the frames of the sampler.

  Args:
    path: the folder; an older export there is replaced.
    source: the model.

  Returns:
    The share of pixels that differ from those of the sampler; none differs by
    more than 1.

  Raises:
    UserError: the folder is remote or holds something else, or the frames
      differ.
  """
  target = replaceable(path)
  check_on_cpu()
  weights, programs = source.weights, source.programs()
  contents = {
    f'{part}.safetensors': safetensors.numpy.save(flatten_params(params))
    for part, params in weights.items()
  }
  conventions = set()
  for name, program in programs.items():
    exported = lower(program, weights[program.weights])
    conventions.add(exported.calling_convention_version)
    contents[f'{name}.export'] = bytes(exported.serialize())
  contents['vocab.model'] = source.vocabulary
  contents[LOADER] = pathlib.Path(loader.__file__).read_bytes()
  manifest = {
    **describe(
      source, programs, versions={'calling_convention': max(conventions)}
    ),
    'platforms': list(PLATFORMS),
    'sha256': {
      name: hashlib.sha256(data).hexdigest() for name, data in contents.items()
    },
  }
  contents[loader.MANIFEST] = (json.dumps(manifest, indent=2) + '\n').encode()
  with staged_folder(target) as folder:
    for name, data in contents.items():
      (folder / name).write_bytes(data)
    return compare([sys.executable, '-I', str(folder / LOADER)], source)


def describe(
  source: Source,
  programs: Mapping[str, Program],
  *,
  versions: Mapping[str, Any],
) -> dict[str, Any]:
  """Return what a loader needs to know of programs, as JSON values."""
  sampler, models = source.sampler, source.sampler.models
  return {
    'format': FORMAT,
    'version': 1,
    'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
    'versions': {
      'phenaki_jax': phenaki_jax.__version__,
      'jax': jax.__version__,
      'jaxlib': importlib.metadata.version('jaxlib'),
      **versions,
    },
    'grid': list(models.tokenizer.grid(sampler.clip_frames, source.size)),
    'size': list(source.size),
    'clip_frames': sampler.clip_frames,
    'context_frames': source.context_frames,
    'text_length': models.text.max_length,
    'sampling': dataclasses.asdict(source.settings),
    'programs': {
      name: {'weights': program.weights, 'inputs': list(program.inputs)}
      for name, program in programs.items()
    },
    'fps': source.fps,
    **source.origin,
    'export_again': source.export_again,
  }


def compare(
  command: Sequence[str], source: Source, *, seconds: float = 1800.0
) -> float:
  """Run a loader in another process; return the share of other pixels.

  Both run on the CPU: this process holds an accelerator until it ends, and the
  other could not open it.

  Args:
    command: reads a file of inputs and writes one of outputs; both paths are
      appended.
    source: its sampler gives the expected frames.
    seconds: time in which the other process has to end.

  Raises:
    UserError: jax uses an accelerator, the process failed or took too long,
      or its frames differ.
  """
  check_on_cpu()
  sampler = source.sampler
  prompts = ['a red circle moving right on grass', 'a blue square']
  seeds = [3, 2**32 - 1]
  length = sampler.models.text.max_length
  texts = [sampler.vocabulary.encode_padded(one, length) for one in prompts]
  with tempfile.TemporaryDirectory() as scratch:
    given, found = (
      os.path.join(scratch, f'{name}.safetensors') for name in ('in', 'out')
    )
    safetensors.numpy.save_file(
      {
        'texts': np.stack(texts).astype(np.int32),
        'seeds': np.asarray(seeds, np.uint32),
      },
      given,
    )
    try:
      done = subprocess.run(
        [*command, given, found],
        capture_output=True,
        text=True,
        env={
          **os.environ,
          'JAX_PLATFORMS': 'cpu',
          'CUDA_VISIBLE_DEVICES': '-1',
        },
        timeout=seconds,
      )
    except subprocess.TimeoutExpired as error:
      raise UserError(
        f'what was exported did not end within {seconds:g} seconds in another '
        'process, so nothing was written; export a smaller model, or on a '
        'faster machine'
      ) from error
    if done.returncode:
      raise UserError(
        'what was exported does not run in another process, so nothing was '
        f'written: {done.stderr.strip()[-2000:]}'
      )
    frames = safetensors.numpy.load_file(found)
  context, largest, others, total = None, 0, 0, 0
  for part in ('first', 'second'):
    expected = sampler.clips(
      prompts,
      size=source.size,
      seeds=seeds,
      settings=source.settings,
      context=context,
    )
    difference = np.abs(frames[part].astype(int) - expected)
    largest = max(largest, int(difference.max()))
    others += int(np.count_nonzero(difference))
    total += difference.size
    context = frames[part][:, -source.context_frames :]
  if largest > _TOLERANCE:
    raise UserError(
      f'what was exported gives pixels that differ by up to {largest} of 255 '
      f'from those of the model, instead of {_TOLERANCE}, so nothing was '
      'written; use versions of jax and its plugins that belong together'
    )
  return others / total


def check_on_cpu() -> None:
  """Raise a UserError if jax uses an accelerator."""
  backend = jax.default_backend()
  if backend != 'cpu':
    raise UserError(
      f'jax runs on {backend}, which the process that checks an export could '
      'not open as well; export with JAX_PLATFORMS=cpu in the environment (the '
      'programs are for all platforms)'
    )


def replaceable(path: str | os.PathLike[str]) -> pathlib.Path:
  """Return the absolute path of a folder that an export may replace.

  Raises:
    UserError: it is remote, or holds something else than an export.
  """
  target = local_path(path, '--out').absolute()
  if not target.exists():
    return target
  manifest = target / loader.MANIFEST
  try:
    is_ours = json.loads(manifest.read_text('utf-8')).get('format') == FORMAT
  except (OSError, ValueError, AttributeError):
    is_ours = False
  if not is_ours and (not target.is_dir() or any(target.iterdir())):
    raise UserError(
      f'{target} holds something else than exported programs; choose another '
      '--out'
    )
  return target
