"""Edit images and clips with a model, and write the result."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax import progress
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.media.frames import checked_fps
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.runs.depth import Depth, depth_of
from phenaki_jax.runs.edit_options import edit_paths
from phenaki_jax.runs.footage import (
  Footage,
  is_footage,
  read_footage,
  read_own_rate,
)
from phenaki_jax.runs.model import Model
from phenaki_jax.stories.edit import Brush, Structure, content_of, outside
from phenaki_jax.types import ImageU8, VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
  """What to do; see `phenaki edit --help`.

  Attributes:
    action: 'animate', 'continue', 'interpolate', 'fps', 'fill', 'restyle',
      'extend' or 'vary'.
    inputs: paths of images, of one clip, or of one .npy of frames.
    prompt: text of the result; '' for a model of clips without captions.
    frames: number of new frames of 'animate' and 'continue'.
    between: new frames in each gap of 'interpolate'.
    times: multiple of the frame rate of 'fps', at least 2.
    fps: frames per second of the input. None: those of the model, and of 'fps'
      those of the clip, if it has a frame rate.
    box: of 'fill' and 'restyle': what is made anew: left, top, right, bottom.
    mask: of both, in place of a box: path of an image or a clip that is white
      where the result is made anew.
    content: of 'restyle': path of an image of what the result shows, or a text
      in place of the prompt.
    depth: of 'restyle': see `runs.depth.depth_of`.
    structure_level: of 'restyle': how far depth is blurred, 0 to 7.
    invert: of 'restyle': start from the noise of the clip (DDIM inversion).
    margins: of 'extend': left, top, right, bottom.
    seed: 0 to 2**32 - 1.
    settings: sampling settings that replace the defaults of the model.
  """

  action: str
  inputs: tuple[str, ...]
  prompt: str = ''
  frames: int = 24
  between: int = 3
  times: int = 2
  fps: float | None = None
  box: tuple[int, int, int, int] | None = None
  mask: str | None = None
  content: str | None = None
  depth: str | None = None
  structure_level: int = 0
  invert: bool = False
  margins: tuple[int, int, int, int] | None = None
  seed: int = 0
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def edit(
  model: Model, request: Edit, out: str | os.PathLike[str], **origin: Any
) -> list[pathlib.Path]:
  """Make an edit, and write the film and its frames; return their paths.

  Args:
    model: makes the frames.
    request: what to do.
    out: the film, which ends in .mp4.
    **origin: see `write_edit`.

  Raises:
    UserError: the input cannot be read, does not fit the action or the model,
      a text is missing, is given twice, or has no effect on clips of the model,
      or the frame rate is too high; see also `edit_paths`.
  """
  paths = edit_paths(
    out, *request.inputs, request.content, request.mask, request.depth
  )
  image = _content_image(model, request)
  prompt = _prompt(model, request, is_text=image is None)
  footage = _read(model, request)
  given, fps = footage.frames, footage.fps
  total = _expected(request, len(given))
  if request.action == 'vary':
    image = given[len(given) // 2]
  depth = None
  if request.action == 'restyle':
    depth = depth_of(given, request.depth, fps=fps, subset=model.subset)
  if request.action == 'fps':
    fps *= request.times
  checked_fps(fps)
  with progress.bar(total=total, unit='frame', desc=paths[0].name) as bar:
    brush = Brush(
      sampler=model.sampler,
      prompt=prompt,
      content=None if image is None else content_of(model.sampler, image),
      settings=dataclasses.replace(model.defaults.settings, **request.settings),
      seed=request.seed,
      context_frames=model.defaults.context_frames,
      fps=fps,
      on_frames=bar.update,
    )
    frames = _apply(brush, request, given, depth)
  provenance = {
    **model.provenance,
    'edit': {
      **dataclasses.asdict(request),
      'settings': dataclasses.asdict(brush.settings),
      **({'depth_weights': depth.checksum} if depth and depth.checksum else {}),
    },
  }
  write_edit(paths, frames, fps=fps, provenance=provenance, **origin)
  return paths


def write_edit(
  paths: Sequence[pathlib.Path],
  frames: VideoU8,
  *,
  fps: float | int,
  provenance: Mapping[str, Any],
  **origin: Any,
) -> None:
  """Write a film and its exact frames to the paths of `edit_paths`.

  Args:
    paths: of both.
    frames: of both; only those of the film get the label and the mark.
    fps: frames per second.
    provenance: JSON values that describe how the film was made.
    **origin: whether it is `marked`, and its `certificate`; see `Mp4Writer`.
  """
  film, exact = paths
  content = io.BytesIO()
  np.save(content, frames, allow_pickle=False)
  replace_file(exact, content.getvalue())
  write_mp4(film, frames, fps=fps, provenance=provenance, **origin)


def _read(model: Model, request: Edit) -> Footage:
  """Read the inputs as frames of the model's size."""
  size, fps = model.defaults.size, request.fps or model.defaults.fps
  is_own = request.action == 'fps' and request.fps is None
  if is_own and len(request.inputs) == 1:
    return read_own_rate(request.inputs[0], size=size, fps=fps)
  parts = [read_footage(path, size=size, fps=fps) for path in request.inputs]
  if len(parts) > 1 and request.action != 'interpolate':
    raise UserError(
      f'{request.action} takes one input, not {len(parts)}; only interpolate '
      'takes several images'
    )
  if len({part.shape[1:] for part in parts}) > 1:
    raise UserError('the inputs differ in size; give frames of one size')
  frames = np.concatenate(parts)
  if request.action == 'animate' and len(frames) > 1:
    raise UserError(
      f'animate takes an image, but {request.inputs[0]} has {len(frames)} '
      'frames; use continue'
    )
  return Footage(frames=frames, fps=fps)


def _expected(request: Edit, given: int) -> int:
  """Return the number of frames that are made."""
  if request.action in ('animate', 'continue'):
    return request.frames
  if request.action in ('fill', 'restyle', 'extend', 'vary'):
    return given
  between = request.between
  if request.action == 'fps':
    between = request.times - 1
  return (given - 1) * (between + 1)


def _content_image(model: Model, request: Edit) -> ImageU8 | None:
  """Return the image that the content names; None if it is a text."""
  if request.content is None:
    return None
  # A missing file is refused, and not taken for a text.
  if not is_footage(request.content):
    return None
  size, fps = model.defaults.size, model.defaults.fps
  return read_footage(request.content, size=size, fps=fps)[0]


def _prompt(model: Model, request: Edit, *, is_text: bool) -> str:
  """Return the text of the result, which the content may be."""
  content = (request.content or '') if is_text else ''
  if content and request.prompt:
    raise UserError(
      f'--content {content!r} and --prompt {request.prompt!r} are two texts of '
      'the result; give one of them, or an image as --content'
    )
  prompt = request.prompt or content
  if not model.data.clip_captions:
    if prompt:
      option = '--prompt' if request.prompt else '--content'
      raise UserError(
        f'{option} is {prompt!r}, but the model learnt from clips without '
        'captions, and reads no text of a clip; leave it out'
      )
  elif not prompt and request.action not in ('restyle', 'vary'):
    raise UserError(f'{request.action} needs --prompt, the text of the result')
  return prompt


def _unknown(request: Edit, frames: VideoU8) -> np.ndarray:
  """Return which pixels are made anew: those of the box or the mask, or all."""
  shape = frames.shape[:3]
  if request.box is not None and request.mask is not None:
    raise UserError('--box and --mask are given; give one of them')
  if request.box is not None:
    return ~outside(request.box, shape)
  if request.mask is None:
    return np.ones(shape, bool)
  mask = read_footage(request.mask, size=shape[1:], fps=1)[..., 0] > 127
  if len(mask) not in (1, shape[0]) or mask.shape[1:] != shape[1:]:
    raise UserError(
      f'{request.mask} is {list(mask.shape)}, but the clip {list(shape)}; give '
      'one image, or as many frames as the clip has'
    )
  return np.broadcast_to(mask, shape)


def _apply(
  brush: Brush, request: Edit, frames: VideoU8, depth: Depth | None
) -> np.ndarray:
  match request.action:
    case 'animate' | 'continue':
      return brush.continue_(frames, request.frames)
    case 'interpolate':
      return brush.interpolate(frames, request.between)
    case 'fps':
      return brush.interpolate(frames, request.times - 1)
    case 'fill':
      return brush.complete(frames, ~_unknown(request, frames))
    case 'restyle' if depth is not None:
      structure = Structure(
        depth=depth.maps,
        level=request.structure_level,
        frames=frames if request.invert else None,
      )
      return brush.restyle(frames, structure, _unknown(request, frames))
    case 'vary':
      return brush.vary(frames)
    case 'extend' if request.margins is not None:
      return brush.extend(frames, request.margins)
  raise UserError(f'{request.action} cannot be done; see phenaki edit --help')
