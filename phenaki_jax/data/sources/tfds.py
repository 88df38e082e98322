"""Sets that TensorFlow Datasets prepared, read without TensorFlow.

The folder is that of a version (`data/laion400m/1.0.0`), prepared with
`file_format='array_record'`. A set with a Video feature, or a Sequence of
Images, gives clips; another one with an Image feature gives images. TFDS parses
the records, but images are read as the encoded bytes as which they are stored:
our own decoder checks them, and the Video feature of TFDS needs TensorFlow.
"""

import copy
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import (
  ArrayRecordDataSource,
)

from phenaki_jax.data import captions, filters, image, schema, transforms, video
from phenaki_jax.data.sources import files
from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.files.paths import data_path, real_path
from phenaki_jax.files.remote import local_copy

_CAPTIONS = ('caption', 'text', 'prompt', 'description')
_TAG = 'nsfw'  # the ClassLabel of `laion400m`
_UNTAGGED = 'UNTAGGED'

# An encoded image is stored like a text, and a video like a sequence of them.
_MODULE = 'tensorflow_datasets.core.features'
_BYTES = {'pythonClassName': f'{_MODULE}.text_feature.Text', 'text': {}}
_ENCODED = {
  schema.IMAGE: _BYTES,
  schema.CLIP: {
    'pythonClassName': f'{_MODULE}.sequence_feature.Sequence',
    'sequence': {'feature': _BYTES, 'length': '-1'},
  },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsReader:
  """Decodes the records of one split.

  Attributes:
    folder: of the version of the set.
    split: name of the split.
    fps: frames per second of the clips, which TFDS does not store.
  """

  folder: str
  split: str = 'train'
  fps: float = 30.0

  def __post_init__(self) -> None:
    """Open the files.

    Raises:
      UserError: TFDS is not installed, or the folder is not such a set.
    """
    assert self.columns is not None

  def opener(self) -> 'Callable[[], TfdsReader]':
    """Return what opens an equal reader in another process."""
    return functools.partial(TfdsReader, **dataclasses.asdict(self))

  @functools.cached_property
  def records(self) -> ArrayRecordDataSource:
    """Return the records, as bytes."""
    path = data_path(self.folder) / 'dataset_info.json'
    if not path.is_file():
      raise UserError(
        f'{self.folder} has no dataset_info.json; name the folder of a version '
        'of a set, such as tensorflow_datasets/laion400m/1.0.0'
      )
    info = json.loads(path.read_bytes())
    if info.get('fileFormat') != 'array_record':
      raise UserError(
        f'{self.folder} is in the format {info.get("fileFormat", "tfrecord")}; '
        "prepare it with file_format='array_record', which can be shuffled"
      )
    found = [one for one in info['splits'] if one['name'] == self.split]
    if not found:
      names = ', '.join(one['name'] for one in info['splits'])
      raise UserError(
        f'{self.folder} has no split {self.split!r}; it has {names}'
      )
    prefix = f'{info["name"]}-{self.split}.array_record'
    count = len(found[0]['shardLengths'])
    paths = [
      data_path(self.folder) / f'{prefix}-{i:05d}-of-{count:05d}'
      for i in range(count)
    ]
    for file in paths:
      if not file.is_file():
        raise UserError(f'{file} is missing; prepare the set again')
    return ArrayRecordDataSource([local_copy(file) for file in paths])

  @functools.cached_property
  def _json(self) -> dict[str, Any]:
    """The description of the features."""
    path = data_path(self.folder) / 'features.json'
    try:
      content = json.loads(path.read_bytes())
      assert isinstance(content['featuresDict']['features'], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
      raise UserError(f'{path} cannot be read: {error}') from error
    return content

  @functools.cached_property
  def _features(self) -> Any:
    """The features, with the encoded bytes in place of images."""
    what = 'a set of TensorFlow Datasets'
    check_extra(what, 'tensorflow_datasets', extra='tfds')
    import tensorflow_datasets as tfds

    content = copy.deepcopy(self._json)
    named = content['featuresDict']['features']
    for name, feature in named.items():
      named[name] = _ENCODED.get(_kind(feature), feature)
    found = tfds.features.FeaturesDict.from_json(content)
    found.load_metadata(self.folder, feature_name=None)
    return found

  @functools.cached_property
  def columns(self) -> frozenset[str]:
    """Return the score columns, and check the files and features."""
    assert len(self.records) >= 0
    names = set(self._features)
    if not self._media or not self._caption:
      raise UserError(
        f'{self.folder} has the features {", ".join(sorted(names))}; a Video '
        f'or an Image, and a Text named {" or ".join(_CAPTIONS)}, are needed'
      )
    tag = {filters.TAG} if _TAG in names else set()
    return frozenset(names & {*filters.COLUMNS} | tag)

  @functools.cached_property
  def _caption(self) -> str:
    return next((name for name in _CAPTIONS if name in self._features), '')

  @functools.cached_property
  def _media(self) -> str:
    """The name of the Video, or of the Image if there is none."""
    kinds = {
      _kind(feature): name
      for name, feature in self._json['featuresDict']['features'].items()
    }
    return kinds.get(schema.CLIP) or kinds.get(schema.IMAGE, '')

  @property
  def kind(self) -> str:
    """Return the kind of all records."""
    return _kind(self._json['featuresDict']['features'][self._media])

  def record(self, index: int) -> schema.Record:
    """Return the record at an index, not decoded; a damaged one has a fault."""
    try:
      values = self._values(index)
      caption = captions.read(values[self._caption])
      columns = self._columns_of(values)
      text, fault, detail = caption.text, caption.fault, ''
    except schema.DecodeError as error:
      text, columns = '', {}
      fault, detail = error.reason, error.detail
    return schema.Record(
      key=f'{self.split}/{index}',
      kind=self.kind,
      caption=text,
      path=self.split,
      offset=index,
      size=0,
      columns=columns,
      fault=fault,
      detail=detail,
    )

  def _values(self, index: int) -> dict[str, Any]:
    """Return the features of a record, images as encoded bytes."""
    try:
      content = self.records[index]
      found: dict[str, Any] = self._features.deserialize_example_np(content)
    except Exception as error:
      # TFDS parses any bytes, with whatever error: it costs one record.
      detail = f'{type(error).__name__}: {error}'
      raise schema.DecodeError('unreadable_record', detail) from error
    return found

  def _columns_of(self, values: dict[str, Any]) -> dict[str, Any]:
    columns = {name: values.get(name) for name in self.columns}
    if filters.TAG in self.columns:
      number = int(values[_TAG])
      try:
        tag = self._features[_TAG].int2str(number)
      except ValueError as error:
        raise schema.DecodeError('unreadable_record', str(error)) from error
      columns[filters.TAG] = None if tag == _UNTAGGED else tag
    return columns

  def read(self, record: schema.Record) -> list[bytes]:
    """Return the encoded frames of a record, an image as one frame.

    Raises:
      schema.DecodeError: they are not those that the record's info describes.
    """
    found = self._values(record.offset)[self._media]
    frames = [found] if isinstance(found, bytes) else list(found)
    info = record.info
    if info is not None and _digest(frames) != info.content_hash:
      raise schema.DecodeError('changed_file', record.key)
    if not frames:
      raise schema.DecodeError('empty_file', record.key)
    return frames

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Decode every frame of a record and describe it.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    frames = self.read(record)
    sizes = {image.decode(frame).size for frame in frames}
    if len(sizes) > 1:
      raise schema.DecodeError('broken_file', f'frames of sizes {sizes}')
    (size,) = sizes
    is_clip = self.kind == schema.CLIP
    return schema.MediaInfo(
      content_hash=_digest(frames),
      width=size[0],
      height=size[1],
      num_frames=len(frames),
      duration=len(frames) / self.fps if is_clip else 0.0,
    )

  def timed(
    self, record: schema.Record, size: tuple[int, int]
  ) -> video.TimedFrames:
    """Decode every frame of a record."""
    frames = self.read(record)
    return video.TimedFrames(
      frames=np.stack(
        [transforms.fit(image.decode(frame), size) for frame in frames]
      ),
      times=np.arange(len(frames)) / self.fps,
      slack=files.ROUNDING / self.fps,
    )

  def example(
    self, record: schema.Record, request: schema.ExampleRequest
  ) -> schema.Example:
    """Decode the requested frames of a record with info.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    frames = self.read(record)
    if record.kind == schema.IMAGE:
      pixels = transforms.fit(image.decode(frames[0]), request.size)
      return schema.Example(pixels=pixels, caption=record.caption)
    times = files.clip_times(record, request)
    places = np.floor(times * self.fps + files.ROUNDING).astype(int)
    shown = [
      transforms.fit(image.decode(frames[place]), request.size)
      for place in np.clip(places, 0, len(frames) - 1)
    ]
    return files.clip_example(record, request, np.stack(shown))


class Tfds:
  """A source of the records of one split of a set."""

  layout = 'tfds'

  def __init__(self, reader: TfdsReader):
    self.reader = reader
    self.columns = reader.columns

  def __len__(self) -> int:
    """Return the number of records."""
    return len(self.reader.records)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield every record, in order."""
    return map(self.reader.record, range(len(self)))

  def spec(self) -> dict[str, Any]:
    """Return the layout and the fields of the reader."""
    fields = dataclasses.asdict(self.reader)
    fields['folder'] = real_path(data_path(self.reader.folder))
    return {'layout': self.layout, **fields}

  def notes(self) -> dict[str, int]:
    """Return no counts, because every record is used."""
    return {}


def _kind(feature: dict[str, Any]) -> str:
  """Return the kind that the JSON of a feature describes; '' for none."""
  inner = feature.get('sequence', {}).get('feature', {})
  if 'video' in feature or 'image' in inner:
    return schema.CLIP
  return schema.IMAGE if 'image' in feature else ''


def _digest(frames: Sequence[bytes]) -> str:
  digest = hashlib.sha256()
  for frame in frames:
    digest.update(len(frame).to_bytes(8, 'little'))
    digest.update(frame)
  return digest.hexdigest()
