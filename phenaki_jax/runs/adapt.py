"""Adapt a trained model to a few images or a clip.

A new character is a new word: its embedding is learned, alone or with the model
(AR-LDM, arXiv 2211.10950, section 3.4). Customisation trains a model without a
new word (Gen-1, arXiv 2302.03011). Both are runs like all others, of the one
training loop, which start from a generator or a diffusion model.
"""

import dataclasses
import logging
import math
import os
import pathlib
from typing import Any, Literal

import jax
from etils import epath

from phenaki_jax.data import build, manifest
from phenaki_jax.data.filters import FilterConfig
from phenaki_jax.data.sources.folder import Folder
from phenaki_jax.errors import UserError
from phenaki_jax.runs.experiment import (
  Experiment,
  content_of,
  resolve_values,
)
from phenaki_jax.text.words import split_words

EXAMPLES = 'examples'
"""The manifest of the images and clips, in the run directory."""

_log = logging.getLogger(__name__)

# The rate of a row is as high because the rows of trained words are long: each
# step may change every entry by half, and slower runs end beside the optimum.
_TRAINING: dict[str, dict[str, Any]] = {
  'row': {
    'task': {'trained': 'words', 'text_dropout': 0.0},
    'optim': {'learning_rate': 0.5, 'warmup_steps': 0, 'end_factor': 0.0},
    'train': {'steps': 120},
  },
  'all': {
    'task': {'trained': 'all', 'text_dropout': 0.1},
    'optim': {'learning_rate': 3e-4, 'warmup_steps': 20},
    'train': {'steps': 300},
  },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation:
  """What a model is adapted to.

  Attributes:
    model: a bundle, a run directory, or the name of a bundle that ships with
      the package.
    character: the new word; empty for a customisation.
    like: word that the model knows, from whose embedding that of the new word
      starts; empty for the pieces that the word was before.
    images: folder of images and clips; empty if there is one clip alone.
    clip: the clip, or an image.
    caption: of the files without a text beside them; by default of a character
      'a WORD'.
    mode: 'row' trains the embedding of the word alone, 'all' the whole model.
    prior: whether half of the examples of 'all' are the training data of the
      model, so that it forgets less.
  """

  model: str = 'storyworld'
  character: str = ''
  like: str = ''
  images: str = ''
  clip: str = ''
  caption: str = ''
  mode: Literal['row', 'all'] = 'row'
  prior: bool = True

  def __post_init__(self) -> None:
    """Check the rules that span several fields."""
    if bool(self.images) == bool(self.clip):
      raise UserError(
        'give --images DIR, a folder of images, or --clip FILE, one clip'
      )
    if self.mode == 'row' and not self.character:
      raise UserError(
        'mode row trains the embedding of a new word; give --character WORD, '
        'or customise in mode all'
      )
    if self.like and not self.character:
      raise UserError(
        '--like is the start of a new word; give --character WORD'
      )

  @property
  def source(self) -> Folder:
    """Return the images and clips, which have captions with the new word."""
    caption = self.caption or (f'a {self.character}' * bool(self.character))
    place = pathlib.Path(self.clip or self.images)
    folder, name = (place.parent, place.name) if self.clip else (place, '')
    source = Folder(str(folder), caption=caption, name=name)
    for record in source:
      words = split_words(record.caption)
      if self.character and self.character.casefold() not in words:
        raise UserError(
          f'the caption of {record.path} is {record.caption!r}, from which '
          f'{self.character!r} cannot be learned; write the word in it'
        )
    return source


def adaptation(
  request: Adaptation, workdir: epath.PathLike, overrides: list[str]
) -> Experiment:
  """Return the run of an adaptation, and write the manifest of its examples.

  Args:
    request: what the model is adapted to.
    workdir: the run directory.
    overrides: strings `a.b=value`, which replace settings of the run.

  Raises:
    NotFoundError: there is no such model.
    UserError: the model is of another kind, or an image, a caption or the word
      cannot be used.
  """
  kinds = ('generator', 'diffusion')
  content, tokenizer = content_of('--model', request.model, kinds)
  if content.get('diffusion', {}).get('values') == 'residual':
    raise UserError(
      f'--model={request.model} enlarges clips, and no run starts from it; '
      'name a generator or a diffusion model that makes clips'
    )
  text = content['text']
  if request.character and (text.get('source') or text.get('encoder')):
    raise UserError(
      f'--model={request.model} reads texts by a frozen encoder, which learns '
      'no word; name a model whose text encoder was trained with it, or give '
      '--customise'
    )
  source = request.source
  examples = epath.Path(workdir) / EXAMPLES
  (report,) = build.build(
    [lambda _: source],
    examples,
    filters=FilterConfig(
      max_unsafe=None, max_watermark=None, min_side=1, min_duration=0.0
    ),
    max_broken_share=1.0,
  )
  if report.broken:
    raise UserError(
      f'{sum(report.broken.values())} of {len(source)} files of '
      f'{source.folder} cannot be read ({", ".join(report.broken)}); see '
      f'{examples / manifest.QUARANTINE}, and replace them'
    )
  _log.info(
    '%d images and clips, %d with a caption of their own.',
    report.images + report.clips,
    source.own,
  )
  values = _values(request, content, os.path.abspath(examples), report)
  values |= {'start_from': request.model, 'tokenizer_dir': tokenizer}
  return resolve_values(values, overrides)


def _values(
  request: Adaptation, content: dict[str, Any], examples: str, report: Any
) -> dict[str, Any]:
  """Return the values of the experiment."""
  text, training = content['text'], _TRAINING[request.mode]
  kind, devices = content['kind'], jax.device_count()
  # The devices share the clips, and the images, of a step. Those of a generator
  # are padded; of a diffusion model their number must be a multiple.
  is_padded = kind == 'generator'
  half = 10 if is_padded else math.ceil(10 / devices) * devices
  sources = [{'layout': 'manifest', 'path': examples}]
  image_share = report.images / (report.images + report.clips)
  if request.mode == 'all' and request.prior:
    prior = content['data']['sources']
    total = sum(one.get('weight', 1.0) for one in prior)
    sources += [
      {**one, 'weight': one.get('weight', 1.0) / total} for one in prior
    ]
    image_share = 0.5
  data = {
    **content['data'],
    'sources': sources,
    'image_share': image_share,
    'batch_size': 2 * half,
    'row_multiple': devices if is_padded else 1,
    'heldout_share': 0.0,
    'frame_cache_bytes': 2**28,
    'buckets': [],
    'token_cache': '',
  }
  words = [request.character] * bool(request.character)
  return {
    'kind': kind,
    'name': request.character or 'customised',
    'start_word': request.like,
    'data': data,
    'text': {**text, 'words': [*text.get('words', []), *words]},
    kind: content[kind],
    'sampling': content['sampling'],
    'optim': {'weight_decay': 0.0, 'ema_decay': 0.99, **training['optim']},
    'task': {
      'prediction_share': 0.0,
      'prediction_frames': 1,
      **training['task'],
    },
    'train': {'checkpoint_every': 100, **training['train']},
  }
