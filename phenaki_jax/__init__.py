"""Story videos from text: C-ViViT, a masked transformer, and a sampler.

    import phenaki_jax as phenaki
    model = phenaki.load()
    film = model.story(['a red circle moving right on grass'], seed=7)
    film.save('story.mp4')

`load`, `Model`, `Film`, `Story` and `Scene` are imported from
`phenaki_jax.runs.open` when they are first used, so that importing the package
stays fast. The command line is `phenaki` (or `python -m phenaki_jax`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from phenaki_jax.runs.open import Film, Model, Scene, Story, load

__version__ = '0.1.0'
__all__ = ['Film', 'Model', 'Scene', 'Story', 'load']


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  import importlib

  value = getattr(importlib.import_module('phenaki_jax.runs.open'), name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
