"""Published protocols: what is generated, and how it is compared.

A protocol is a Python file with `get_protocol(arg='')`, which returns the
fields of `Protocol`; those of Phenaki's paper are in `configs/protocols/`.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from PIL import Image
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

import phenaki_jax
from phenaki_jax import config as config_lib
from phenaki_jax import progress
from phenaki_jax.config import validated
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.manifest import Manifest
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.data.schema import CLIP, Example
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.runs.gathered import Gathered
from phenaki_jax.runs.networks import open_features
from phenaki_jax.runs.subject import Subject
from phenaki_jax.stories.seeds import candidate_seed
from phenaki_jax.types import VideoU8


@validated
class Protocol:
  """How one number of a paper is measured.

  Attributes:
    name: of the protocol, such as 'bair'.
    source: the paper, with the table or section.
    task: 'prediction' continues given frames, 'text' generates from captions,
      'reconstruction' encodes and decodes.
    size: height and width of the clips of the model.
    measured_size: height and width to which both sides are scaled before they
      are measured; the same as `size` if they are not.
    fps: frames per second.
    frames: frames of a clip that are measured. A clip is generated longer if
      the tokenizer needs it, and cut.
    given: frames that a prediction sees.
    clips: real clips.
    samples: generated clips for each real one.
    settings: sampling settings that replace those of the model.
    open: what the paper does not state, and what is taken here.
  """

  name: str
  source: str
  task: Literal['prediction', 'text', 'reconstruction']
  size: tuple[PositiveInt, PositiveInt]
  measured_size: tuple[PositiveInt, PositiveInt]
  fps: PositiveFloat
  frames: PositiveInt
  given: NonNegativeInt = 0
  clips: PositiveInt
  samples: PositiveInt = 1
  settings: dict[str, float | int | str] = dataclasses.field(
    default_factory=dict
  )
  open: str = ''

  def __post_init__(self) -> None:
    """Check that a prediction is given frames, and nothing else is."""
    if (self.task == 'prediction') != (0 < self.given < self.frames):
      raise UserError(
        f'given is {self.given} of {self.frames} frames; a prediction is given '
        'some of them, other tasks none'
      )


def load_protocol(
  spec: str | os.PathLike[str], *, clips: int | None = None
) -> Protocol:
  """Read a protocol from a file `path.py[:arg]`; `clips` makes it shorter.

  Raises:
    UserError: the file is no protocol.
  """
  values = config_lib.call(spec, 'get_protocol')
  if clips is not None:
    values = {**values, 'clips': clips}
  return config_lib.build(Protocol, values)


def run_protocol(
  subject: Subject,
  protocol: Protocol,
  *,
  features: Sequence[str],
  manifest: str,
  seed: int = 0,
) -> tuple[Measure, ...]:
  """Measure a model by a protocol.

  Args:
    subject: a story model, or of a reconstruction a tokenizer.
    protocol: what to do.
    features: specs of networks; see `networks.open_features`.
    manifest: folder of the manifest of the real clips, all of whose rows are
      taken; empty for the held-out training data.
    seed: of the samples.

  Raises:
    UserError: the model cannot do it, or there are too few clips.
  """
  if protocol.task != 'reconstruction' and subject.model is None:
    raise UserError(
      f'{protocol.name} generates clips, but {subject.name} is a tokenizer; '
      'name a story model'
    )
  networks = [open_features(spec) for spec in features]
  made, real = Gathered(networks), Gathered(networks)
  total = protocol.clips * protocol.samples
  with progress.bar(total=total, unit='clip', desc=protocol.name) as bar:
    for index, example in enumerate(_examples(subject, protocol, manifest)):
      truth = example.pixels[: protocol.frames]
      real.add(_scaled(truth, protocol.measured_size))
      for sample in range(protocol.samples):
        own = candidate_seed(seed + index, index, sample)
        film = _made(subject, protocol, example, own)
        film = _scaled(film[: protocol.frames], protocol.measured_size)
        made.add(film, example.caption if protocol.task == 'text' else None)
        bar.update(1)
  stamp = {
    'protocol': config_lib.to_dict(protocol),
    'model': subject.fingerprint,
    'manifest': manifest or 'held-out training data',
    'phenaki_jax': phenaki_jax.__version__,
    'platform': jax.default_backend(),
  }
  return made.compare_with(real, protocol=stamp)


def _examples(
  subject: Subject, protocol: Protocol, manifest: str
) -> Iterator[Example]:
  """Yield the real clips, long enough for the tokenizer."""
  tubelet = subject.tokenizer.tubelet
  length = 1 + math.ceil((protocol.frames - 1) / tubelet) * tubelet
  data = subject.data
  if manifest:
    # A set of others, of which no clip was trained on.
    data = dataclasses.replace(data, heldout_share=0.0)
  data = dataclasses.replace(
    data.heldout(manifest),
    size=protocol.size,
    fps=protocol.fps,
    frames=length,
    clip_captions=True,
  )
  pipeline = Pipeline(
    data, lambda caption: np.ones(1, np.int32), tubelet=tubelet, text_length=1
  )
  limit = _most_clips(data, protocol)
  found = step = 0
  while found < protocol.clips:
    if step == limit:
      raise UserError(
        f'of {step} clips only {found} have {protocol.frames} frames at '
        f'{protocol.fps:g} per second; {protocol.name} needs {protocol.clips}'
      )
    (example,) = pipeline.examples(step)['clips']
    step += 1
    assert isinstance(example, Example)
    if example.num_frames >= protocol.frames:
      found += 1
      yield example


def _most_clips(data: DataConfig, protocol: Protocol) -> int:
  """Return how many clips are looked at; each clip of a manifest is once.

  Raises:
    UserError: a manifest has fewer clips than the protocol needs.
  """
  source = data.sources[0]
  if len(data.sources) > 1 or source.layout != 'manifest':
    return 100 * protocol.clips
  count = len(
    Manifest(source.path).rows(
      CLIP, split=data.split, heldout_share=data.heldout_share
    )
  )
  if count < protocol.clips:
    raise UserError(
      f'{source.path} has {count} clips, but {protocol.name} needs '
      f'{protocol.clips}; name a larger manifest, or shorten the protocol with '
      f'--clips {count}'
    )
  return count


def _made(
  subject: Subject, protocol: Protocol, example: Example, seed: int
) -> np.ndarray:
  """Generate, continue or reconstruct one clip; it may be too long."""
  if protocol.task == 'reconstruction':
    return subject.reconstruct(example.pixels[None])[0]
  model = subject.model
  assert model is not None
  sampler = model.sampler
  settings: Mapping[str, Any] = protocol.settings
  context = None
  if protocol.given:
    context = example.pixels[None, : protocol.given]
  prompt = example.caption if protocol.task == 'text' else ''
  clip = sampler.clips(
    [prompt],
    size=protocol.size,
    seeds=[seed],
    settings=dataclasses.replace(model.defaults.settings, **settings),
    context=context,
  )[0]
  if len(clip) < protocol.frames:
    raise UserError(
      f'the model makes clips of {len(clip)} frames, but {protocol.name} '
      f'measures {protocol.frames}; use a model of longer clips'
    )
  if context is None:
    return clip
  return np.concatenate([context[0], clip[protocol.given :]])


def _scaled(frames: VideoU8, size: tuple[int, int]) -> np.ndarray:
  """Scale frames by averaging pixels, as published numbers do."""
  if frames.shape[1:3] == size:
    return frames
  shape = size[1], size[0]
  return np.stack(
    [
      np.asarray(Image.fromarray(frame).resize(shape, Image.Resampling.BOX))
      for frame in frames
    ]
  )
