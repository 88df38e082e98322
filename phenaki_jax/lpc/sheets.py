"""The artists' sheets, and characters composed of their layers.

A sheet is a drawing of one layer, such as a shirt, in all poses: 13 x 21 cells
of 64 x 64 pixels. A row of cells is one action in one direction.
"""

import functools
import itertools
import os
import pathlib

from PIL import Image

from phenaki_jax.errors import UserError
from phenaki_jax.lpc import facts as facts_lib

CELL = 64  # side of a cell, in pixels
COLUMNS, ROWS = 13, 21  # cells of a sheet
ORIGIN = 'https://github.com/makrohn/Universal-LPC-spritesheet'
AUTHORS = 'AUTHORS.txt'  # lists the artists, beside the sheets
LICENSE = f"""\
The characters in these files are rendered from sheets of the Liberated Pixel
Cup, {ORIGIN}.
{AUTHORS}, here or there, lists the artists.

The files are adaptations of the sheets and are licensed, as they are, under
Creative Commons Attribution-ShareAlike 3.0 Unported (CC-BY-SA 3.0):
https://creativecommons.org/licenses/by-sa/3.0/legalcode
"""

# By action: the first row, and the number of frames. The rows of an action are
# in the order of `facts.DIRECTIONS`; a fall has only one.
_ACTION_CELLS = {
  'cast': (0, 7),
  'thrust': (4, 8),
  'walk': (8, 9),
  'slash': (12, 6),
  'shoot': (16, 13),
  'fall': (20, 6),
}
# Sex and skin, as the names of files have them.
_BODIES = {
  'man': ('male', 'light'),
  'woman': ('female', 'light'),
  'dark-skinned man': ('male', 'dark2'),
  'dark-skinned woman': ('female', 'dark2'),
  'orc': ('male', 'orc'),
  'skeleton': ('male', 'skeleton'),
}
_HAIR_FILES = {'black': 'raven', 'red': 'ruby-red'}
_HAIR_FOLDERS = {'short': 'plain', 'spiky': 'bedhead', 'curly': 'jewfro'}

# Layers from the lowest to the highest.
_SHOES = 'feet/shoes/{sex}/{shoes}_shoes_{sex}'
_PANTS = 'legs/pants/{sex}/{pants}_pants_{sex}'
_SHIRTS = {
  'male': 'torso/shirts/longsleeve/male/{outfit}_longsleeve',
  'female': 'torso/shirts/sleeveless/female/{outfit}_sleeveless',
}
_ARMOURS = {
  'plate armour': (
    'feet/armor/{sex}/metal_boots_{sex}',
    'legs/armor/{sex}/metal_pants_{sex}',
    'torso/plate/chest_{sex}',
    'torso/plate/arms_{sex}',
  ),
  'leather armour': (
    *(_SHOES, _PANTS),
    *('torso/leather/chest_{sex}', 'torso/leather/shoulders_{sex}'),
  ),
  'chain mail': (_SHOES, _PANTS, 'torso/chain/mail_{sex}'),
}
_WEAPONS = {
  'cast': ('weapons/right hand/{sex}/woodwand_{sex}',),
  'thrust': ('weapons/right hand/{sex}/spear_{sex}',),
  'slash': ('weapons/right hand/{sex}/dagger_{sex}',),
  'shoot': ('weapons/right hand/either/bow', 'weapons/left hand/either/arrow'),
}


def layers(facts: facts_lib.Facts) -> tuple[str, ...]:
  """Return the files of a character and its weapon, the lowest first."""
  sex, skin = _BODIES[facts.kind]
  is_shirt = facts.outfit in facts_lib.SHIRTS
  shirt = (_SHOES, _PANTS, _SHIRTS[sex])
  paths = ['body/{sex}/{skin}', *_ARMOURS.get(facts.outfit, shirt)]
  if facts.hair is not None:
    paths.append('hair/{sex}/{hair_style}/{hair}')
  paths += _WEAPONS.get(facts.action, ())
  values = {
    **facts.as_dict(),
    'sex': sex,
    'skin': skin,
    'shoes': 'brown' if is_shirt else 'black',
    'hair': _HAIR_FILES.get(facts.hair or '', facts.hair),
    'hair_style': _HAIR_FOLDERS.get(facts.hair_style or '', facts.hair_style),
  }
  return tuple(f'{path}.png'.format(**values) for path in paths)


@functools.cache
def all_layers() -> tuple[str, ...]:
  """Return the files of all characters, sorted."""
  values = facts_lib.VALUES
  some = facts_lib.Facts(
    kind='man',
    hair='red',
    hair_style='long',
    outfit='white',
    pants='red',
    action='walk',
    direction='down',
    place='grass',
  )
  files: set[str] = set()
  # Hair, clothes and weapons depend on the sex, not on each other.
  for kind in values['kind'][:-1]:  # A skeleton has no hair.
    for hair, style in itertools.product(values['hair'], values['hair_style']):
      files.update(layers(some.replace(kind=kind, hair=hair, hair_style=style)))
    for outfit, pants in itertools.product(values['outfit'], values['pants']):
      hidden = dict.fromkeys(facts_lib.hidden_facts(kind, outfit))
      dressed = {'kind': kind, 'outfit': outfit, 'pants': pants, **hidden}
      files.update(layers(some.replace(**dressed)))
    for action in values['action']:
      files.update(layers(some.replace(kind=kind, action=action)))
  bare = some.replace(kind='skeleton', hair=None, hair_style=None)
  return tuple(sorted(files.union(layers(bare))))


class Sheets:
  """Characters cut out of the sheets in a folder."""

  def __init__(self, root: str | os.PathLike[str]):
    """Find the files; each is read when it is first needed.

    Raises:
      UserError: the folder or a file is missing.
    """
    self._root = pathlib.Path(root)
    advice = f'get the sheets from {ORIGIN}'
    if not self._root.is_dir():
      raise UserError(f'there is no folder {root}; {advice}')
    missing = [p for p in all_layers() if not (self._root / p).is_file()]
    if missing:
      raise UserError(
        f'{root} lacks {len(missing)} sheets, such as {missing[0]}; {advice}'
      )
    self._sheet = functools.cache(self._read)
    self._row = functools.lru_cache(maxsize=256)(self._compose)

  def cell(self, facts: facts_lib.Facts, frame: int) -> Image.Image:
    """Return the character of a scene in one of its frames.

    Actions repeat, except that a fall stops at its last frame.

    Returns:
      A picture of 64 x 64 pixels with transparency.

    Raises:
      UserError: a sheet cannot be read or has another size.
    """
    row, count = _ACTION_CELLS[facts.action]
    if facts.action == 'fall':
      frame = min(frame, count - 1)
    elif facts.action == 'walk':
      frame = 1 + frame % (count - 1)  # Cell 0 is the standing pose.
      row += facts_lib.DIRECTIONS.index(facts.direction)
    else:
      frame %= count
      row += facts_lib.DIRECTIONS.index(facts.direction)
    return self._row(layers(facts), row, count)[frame]

  def _compose(self, paths, row, count):
    area = (0, row * CELL, count * CELL, (row + 1) * CELL)
    parts = [self._sheet(path).crop(area).convert('RGBA') for path in paths]
    drawn = functools.reduce(Image.alpha_composite, parts)
    return [
      drawn.crop((x, 0, x + CELL, CELL)) for x in range(0, count * CELL, CELL)
    ]

  def _read(self, path):
    try:
      with Image.open(self._root / path) as sheet:
        sheet.load()
    except OSError as error:
      raise UserError(
        f'{self._root / path} cannot be read as an image: {error}'
      ) from error
    if sheet.size != (COLUMNS * CELL, ROWS * CELL):
      raise UserError(
        f'{self._root / path} has {sheet.width}x{sheet.height} pixels, but a '
        f'sheet has {COLUMNS * CELL}x{ROWS * CELL}; get it from {ORIGIN}'
      )
    return sheet
