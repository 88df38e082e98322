"""Export a sampler as a SavedModel of TensorFlow; needs the extra `tf`.

The signatures are those of `programs`, for any batch size. A SavedModel can be
written without complaint and fail when it is called, if TensorFlow is older
than jax; therefore another process calls it before the folder appears.
"""

import json
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from phenaki_jax.export import loader
from phenaki_jax.export.programs import (
  LOADER,
  PLATFORMS,
  Program,
  Source,
  check_on_cpu,
  compare,
  describe,
  replaceable,
)
from phenaki_jax.extras import check_extra
from phenaki_jax.files.atomic import staged_folder


def write_saved_model(path: str | os.PathLike[str], source: Source) -> float:
  """Export all programs as one SavedModel, and call it in another process.

  Args:
    path: the folder; an older export there is replaced.
    source: the model.

  Returns:
    The share of pixels that differ from those of the sampler; none differs by
    more than 1.

  Raises:
    UserError: TensorFlow or orbax-export is missing, the folder is remote or
      holds something else, or the frames differ.
  """
  target = replaceable(path)
  check_extra('a SavedModel', 'tensorflow', 'orbax.export', extra='tf')
  import tensorflow as tf
  from orbax import export as orbax_export

  check_on_cpu()
  programs = source.programs()
  module = orbax_export.JaxModule(
    source.weights,
    {name: _named(program) for name, program in programs.items()},
    input_polymorphic_shape={
      name: {one: shape for one, shape, _ in program.inputs}
      for name, program in programs.items()
    },
    jax2tf_kwargs={
      name: {'native_serialization_platforms': PLATFORMS} for name in programs
    },
  )
  signatures = [
    orbax_export.ServingConfig(
      name,
      method_key=name,
      # Inputs that are not named lose their names.
      input_signature=[
        {
          one: tf.TensorSpec(
            [int(n) if n.isdigit() else None for n in shape.split(',')],
            getattr(tf, dtype),
            name=one,
          )
          for one, shape, dtype in program.inputs
        }
      ],
    )
    for name, program in programs.items()
  ]
  manifest = describe(source, programs, versions={'tensorflow': tf.__version__})
  with staged_folder(target) as folder:
    orbax_export.ExportManager(module, signatures).save(os.fspath(folder))
    text = json.dumps(manifest, indent=2) + '\n'
    (folder / loader.MANIFEST).write_bytes(text.encode())
    (folder / 'vocab.model').write_bytes(source.vocabulary)
    code = pathlib.Path(__file__).with_name('tf_loader.py').read_bytes()
    (folder / LOADER).write_bytes(code)
    return compare([sys.executable, '-I', str(folder / LOADER)], source)


def _named(program: Program) -> Callable[[Any, Any], dict[str, jax.Array]]:
  """Return a program that takes a dict of inputs and returns one of outputs."""

  def call(weights: Any, inputs: Mapping[str, Any]) -> dict[str, jax.Array]:
    values = [inputs[name] for name, _, _ in program.inputs]
    output = program.function(weights[program.weights], *values)
    if not isinstance(output, tuple):
      output = (output,)
    return {f'output_{i}': one for i, one in enumerate(output)}

  return call
