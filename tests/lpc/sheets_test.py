import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from phenaki_jax import lpc
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import sheets

REAL = pathlib.Path(__file__).parents[3] / 'shared' / 'data' / 'lpc-sheets'
ARCHER = lpc.Facts(
  kind='dark-skinned woman',
  hair='black',
  hair_style='spiky',
  outfit='leather armour',
  pants='teal',
  action='shoot',
  direction='left',
  place='stone',
)


def test_layers_are_in_order():
  assert sheets.layers(ARCHER) == (
    'body/female/dark2.png',
    'feet/shoes/female/black_shoes_female.png',
    'legs/pants/female/teal_pants_female.png',
    'torso/leather/chest_female.png',
    'torso/leather/shoulders_female.png',
    'hair/female/bedhead/raven.png',
    'weapons/right hand/either/bow.png',
    'weapons/left hand/either/arrow.png',
  )
  bones = ARCHER.replace(
    kind='skeleton', hair=None, hair_style=None, outfit='maroon', action='walk'
  )
  assert sheets.layers(bones) == (
    'body/male/skeleton.png',
    'feet/shoes/male/brown_shoes_male.png',
    'legs/pants/male/teal_pants_male.png',
    'torso/shirts/longsleeve/male/maroon_longsleeve.png',
  )


def _plain_cell(folder, facts, row, column):
  """Blend the layers of one cell in floating point; return RGBA."""
  box = np.s_[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
  colour, alpha = np.zeros((64, 64, 3)), np.zeros((64, 64, 1))
  for name in sheets.layers(facts):
    with Image.open(folder / name) as sheet:
      layer = np.asarray(sheet.convert('RGBA'))[box] / 255
    above = layer[..., 3:]
    total = above + alpha * (1 - above)
    mixed = layer[..., :3] * above + colour * alpha * (1 - above)
    colour = np.divide(mixed, total, out=0 * mixed, where=total > 0)
    alpha = total
  return 255 * np.concatenate([colour, alpha], -1)


@pytest.mark.parametrize(
  ('action', 'direction', 'frame', 'row', 'column'),
  [
    ('shoot', 'left', 2, 17, 2),
    ('shoot', 'left', 15, 17, 2),
    ('cast', 'up', 6, 0, 6),
    ('thrust', 'down', 8, 6, 0),
    ('slash', 'right', 5, 15, 5),
    ('walk', 'right', 0, 11, 1),
    ('walk', 'right', 8, 11, 1),
    ('fall', 'down', 4, 20, 4),
    ('fall', 'down', 9, 20, 5),
  ],
)
def test_cells_are_blended_layers(
  sprite_sheets, action, direction, frame, row, column
):
  facts = ARCHER.replace(action=action, direction=direction)
  cell = np.asarray(lpc.Sheets(sprite_sheets).cell(facts, frame))
  expected = _plain_cell(sprite_sheets, facts, row, column)
  is_seen = expected[..., 3:] > 0
  np.testing.assert_allclose(cell * is_seen, expected * is_seen, atol=2)
  np.testing.assert_allclose(cell[..., 3], expected[..., 3], atol=2)


@pytest.fixture
def damaged(sprite_sheets, tmp_path):
  folder = tmp_path / 'sheets'
  shutil.copytree(sprite_sheets, folder)
  return folder


def test_missing_sheets_are_named(damaged, tmp_path):
  with pytest.raises(ValueError, match='no folder .*nowhere; get the sheets'):
    lpc.Sheets(tmp_path / 'nowhere')
  (damaged / 'body/male/orc.png').unlink()
  with pytest.raises(ValueError, match='lacks 1 sheets, such as body/male/orc'):
    lpc.Sheets(damaged)


def test_damaged_sheets_are_named(damaged):
  body = damaged / 'body/female/dark2.png'
  Image.new('RGBA', (64, 64)).save(body)
  with pytest.raises(ValueError, match='dark2.png has 64x64 pixels, but a'):
    lpc.Sheets(damaged).cell(ARCHER, 0)
  body.write_bytes(b'<html>404</html>')
  with pytest.raises(ValueError, match='dark2.png cannot be read'):
    lpc.Sheets(damaged).cell(ARCHER, 0)


@pytest.mark.slow
@pytest.mark.skipif(
  not REAL.is_dir(), reason=f'the sheets are not beside the checkout: {REAL}'
)
def test_real_sheets_are_complete_and_draw_every_character():
  found = {path.relative_to(REAL).as_posix() for path in REAL.rglob('*.png')}
  assert found == set(sheets.all_layers())
  real = lpc.Sheets(REAL)
  cells = set()
  for kind in facts_lib.KINDS:
    hidden = dict.fromkeys(facts_lib.hidden_facts(kind, ARCHER.outfit))
    for action in facts_lib.ACTIONS:
      for direction in facts_lib.DIRECTIONS:
        way = 'down' if action == 'fall' else direction
        act = {'kind': kind, 'action': action, 'direction': way}
        facts = ARCHER.replace(**hidden, **act)
        for frame in range(9):
          cell = real.cell(facts, frame)
          assert np.asarray(cell)[..., 3].mean() > 15
          cells.add(cell.tobytes())
  assert len(cells) > 700
