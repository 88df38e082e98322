"""Story videos from text: C-ViViT, a masked transformer, and a sampler.

    import phenaki_jax as phenaki
    model = phenaki.load()
    film = model.story(['a red circle moving right on grass'], seed=4)
    film.save('story.mp4')

The names of `__all__` are imported on first use, which keeps the import fast.
The command line is `phenaki` (or `python -m phenaki_jax`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from phenaki_jax.media.film import Film
  from phenaki_jax.runs.model import Model
  from phenaki_jax.runs.open import load
  from phenaki_jax.stories.story import Scene, Story

__version__ = '0.1.0'
__all__ = ['Film', 'Model', 'Scene', 'Story', 'load']

_HOMES = {
  'Film': 'media.film',
  'Model': 'runs.model',
  'Scene': 'stories.story',
  'Story': 'stories.story',
  'load': 'runs.open',
}


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  import importlib

  return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
