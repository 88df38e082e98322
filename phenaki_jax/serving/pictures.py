"""The frames of scenes as PNG, while they are made and afterwards."""

import collections
import threading
from collections.abc import Callable, Hashable

import numpy as np

from phenaki_jax.media.png import encode_png
from phenaki_jax.stories.kept_scenes import KeptScenes

_MAX_OPEN = 64
_MAX_PNG = 2000


class Pictures:
  """Frames by the key of their scene (see `stories.seeds.scene_keys`).

  Only scenes that are being made are in memory; finished ones are read from
  disk. Several stories may make one scene at the same time, each with the same
  frames. Methods may be called from any thread.
  """

  def __init__(self, kept: KeptScenes, finish: Callable[..., np.ndarray]):
    """Set where finished scenes are, and what is done to a frame."""
    self._kept, self._finish = kept, finish
    self._lock = threading.Lock()
    self._live: dict[str, list[np.ndarray]] = {}
    self._makers: dict[str, set[Hashable]] = {}
    self._open: collections.OrderedDict = collections.OrderedDict()
    self._png: collections.OrderedDict = collections.OrderedDict()

  def add(
    self, key: str, start: int, frames: np.ndarray, *, maker: Hashable
  ) -> None:
    """Add frames of a scene that is being made.

    Args:
      key: of the scene.
      start: number of the first of these frames.
      frames: uint8 [T, H, W, 3].
      maker: who makes the scene, for `drop`.
    """
    with self._lock:
      scene = self._live.get(key, [])
      if start > len(scene):
        return  # The frames before are on disk, where these will be, too.
      self._live[key] = scene
      self._makers.setdefault(key, set()).add(maker)
      # Those that another maker has added already are the same.
      scene.extend(frames[len(scene) - start :])

  def drop(self, key: str, *, maker: Hashable) -> None:
    """Forget the frames in memory of a scene that nobody else makes."""
    with self._lock:
      makers = self._makers.get(key, set())
      makers.discard(maker)
      if not makers:
        self._live.pop(key, None)
        self._makers.pop(key, None)

  def count(self, key: str, shape: tuple[int, ...]) -> int:
    """Return the number of frames of a scene that exist so far.

    Args:
      key: of the scene.
      shape: of the finished scene.
    """
    with self._lock:
      if key in self._live:
        return len(self._live[key])
    scene = self._finished(key, shape)
    return 0 if scene is None else len(scene)

  def png(self, key: str, shape: tuple[int, ...], number: int) -> bytes | None:
    """Return a frame as PNG, or None if it does not exist yet."""
    with self._lock:
      if (key, number) in self._png:
        self._png.move_to_end((key, number))
        return self._png[key, number]
    frame = self.frame(key, shape, number)
    if frame is None:
      return None
    data = encode_png(frame)
    with self._lock:
      self._png[key, number] = data
      while len(self._png) > _MAX_PNG:
        self._png.popitem(last=False)
    return data

  def frame(
    self, key: str, shape: tuple[int, ...], number: int
  ) -> np.ndarray | None:
    """Return a frame, finished, or None if it does not exist yet."""
    with self._lock:
      scene = self._live.get(key, [])
      frame = scene[number] if number < len(scene) else None
    if frame is None:
      kept = self._finished(key, shape)
      if kept is None:
        return None
      frame = np.array(kept[number])
    return self._finish(frame)

  def _finished(self, key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    with self._lock:
      if key in self._open:
        self._open.move_to_end(key)
        return self._open[key]
    # Its checksum is verified, so it is opened once.
    scene = self._kept.find(key, shape)
    if scene is not None:
      with self._lock:
        self._open[key] = scene
        while len(self._open) > _MAX_OPEN:
          self._open.popitem(last=False)
    return scene
