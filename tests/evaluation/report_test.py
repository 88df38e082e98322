import json
import math

import numpy as np

from phenaki_jax.evaluation.changes import ChangeReport, ChangeRow
from phenaki_jax.evaluation.clips import ClipReport, ImageOnlyReport, Sample
from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.fidelity import FidelityReport
from phenaki_jax.evaluation.frechet import FrechetReport
from phenaki_jax.evaluation.report import Report, sheets, to_json, to_markdown
from phenaki_jax.evaluation.stories import StoryReport

FRAMES = np.zeros((9, 16, 16, 3), np.uint8)
SAMPLE = Sample(
  prompt='a red circle', read='circle, white', frames=FRAMES, score=(0.5, 1.0)
)
PROTOCOL = {
  'model': 'tiny',
  'prompts': 200,
  'split': 'heldout',
  'stories': 20,
  'changes': 10,
  'world': 'StoryWorld',
  'image_only_prompts': 5,
}
CLIPS = ClipReport(
  facts=Table(
    shape=Counts(asked=200, right=190, unsure=2),
    colour=Counts(asked=200, right=100),
  ),
  mistakes={'colour: red read as white': 100, 'shape: star read as cross': 10},
  samples={'best': [SAMPLE], 'worst': [SAMPLE, SAMPLE], 'random': []},
)
STORIES = StoryReport(
  facts=Table(shape=Counts(asked=40, right=40)),
  last=Table(shape=Counts(asked=20, right=15)),
  scenes=(Counts(asked=20, right=20), Counts(asked=20, right=20)),
  splits=Table(
    train=Counts(asked=30, right=30), heldout=Counts(asked=10, right=10)
  ),
  consistency={
    'persistence': 0.91,
    'last_persistence': math.nan,
    'smoothness': 0.75,
    'continuity': 0.5,
  },
  stories=((('a red circle', 'it falls'), (FRAMES[:8], FRAMES[:8])),),
)
IMAGE_ONLY = ImageOnlyReport(
  values=Table({'colour pink': Counts(asked=5, right=4)}),
  others=Counts(asked=15, right=15),
  samples=(SAMPLE,),
)
TEN = Counts(asked=10, right=9)
PAIR = (('a red circle', 'it turns blue'), (FRAMES, FRAMES[:8]))
CHANGES = ChangeReport(
  facts=('shape', 'colour', 'place'),
  rows={
    'colour': ChangeRow(
      changed=TEN,
      kept=Table(shape=Counts(asked=10, right=8), place=Counts(asked=10)),
      all_kept=Counts(asked=10),
      clean=Counts(asked=80, right=60),
      samples=(PAIR,),
    ),
    'place': ChangeRow(
      changed=TEN,
      kept=Table(shape=TEN, colour=TEN),
      all_kept=TEN,
      clean=Counts(asked=80, right=80),
      samples=(PAIR,),
    ),
  },
)
FIDELITY = FidelityReport(
  clips=2,
  means={'psnr': 31.0, 'psnr_first': 30.0, 'psnr_later': 32.0},
  positions=(30.0, 32.0),
  facts=Table(shape=Counts(asked=2, right=1)),
  samples=((FRAMES, FRAMES),),
  protocol={'networks': {'lpips@random': {'weights': ''}}},
)
FRECHET = FrechetReport(
  distances={'frames': 12.345, 'motion': 6.7},
  clips=(200, 100),
  vectors={'frames': (1800, 900), 'motion': (1600, 800)},
  network={'network': 'open_nsfw', 'side': 112},
)
REPORT = Report(
  protocol=PROTOCOL,
  clips=CLIPS,
  stories=STORIES,
  changes=CHANGES,
  image_only=IMAGE_ONLY,
  fidelity=FIDELITY,
  frechet=FRECHET,
)


def test_json_has_all_numbers():
  found = json.loads(json.dumps(to_json(REPORT), allow_nan=False))
  assert found['protocol'] == PROTOCOL
  assert found['clips']['facts']['shape'] == {
    'asked': 200,
    'right': 190,
    'unsure': 2,
    'accuracy': 0.95,
    'error': round(math.sqrt(0.95 * 0.05 / 200), 6),
  }
  assert found['clips']['total']['accuracy'] == 0.725
  assert found['clips']['mistakes']['colour: red read as white'] == 100
  assert found['stories']['persistence'] == 0.91
  assert found['stories']['last_persistence'] is None
  assert len(found['stories']['scenes']) == 2
  assert found['stories']['last_scene']['shape']['accuracy'] == 0.75
  row = found['changes']['colour']
  assert row['changed']['accuracy'] == 0.9
  assert row['kept']['shape']['accuracy'] == 0.8
  assert set(row['kept']) == {'shape', 'place'}
  assert row['all_kept']['accuracy'] == 0
  assert row['clean_frames']['accuracy'] == 0.75
  assert found['reconstruction']['psnr_first'] == 30
  assert found['reconstruction']['protocol'] == FIDELITY.protocol
  assert found['reconstruction']['psnr_by_frame'] == [30, 32]
  assert found['reconstruction']['facts']['shape']['accuracy'] == 0.5
  assert found['frechet']['distances'] == {'frames': 12.345, 'motion': 6.7}
  assert found['frechet']['vectors']['frames'] == [1800, 900]
  assert found['frechet']['network']['side'] == 112
  assert found['image_only']['total']['accuracy'] == 0.8
  assert found['image_only']['others']['asked'] == 15


def test_markdown_tables_are_complete():
  text = to_markdown(REPORT)
  assert '| shape | 0.950 | 0.015 | 0.010 | 200 |' in text
  # The name of the network belongs to the name of the measure.
  assert '| frames@open_nsfw | 12.35 | 1800 | 900 |' in text
  assert '(200 generated clips, 100 real ones)' in text
  assert '| **all** | 0.725 | 0.022 | 0.005 | 400 |' in text
  assert '| held out | 1.000 | 0.000 | 0.000 | 10 |' in text
  assert (
    '| joins without a jump that keep all unchanged facts | 0.500 |' in text
  )
  head, _, first, second = text[text.index('| change |') :].splitlines()[:4]
  cells = [
    [cell.strip() for cell in line.split('|')[1:-1]]
    for line in (head, first, second)
  ]
  assert cells == [
    [
      *('change', 'changes', 'shape', 'colour', 'place'),
      *('all stay', 'clean', 'pairs'),
    ],
    [
      'colour: "it turns blue"',
      '0.90',
      '0.80',
      '',
      '0.00',
      '0.00',
      '0.75',
      '10',
    ],
    [
      'place: "it turns blue"',
      '0.90',
      '0.90',
      '0.90',
      '',
      '0.90',
      '1.00',
      '10',
    ],
  ]
  # The legend explains each column.
  for name in ('*changes*', '*all stay*', '*clean*', '*unsure*'):
    assert name in text
  assert '| PSNR of first frames, in dB | 30.00 |' in text
  assert 'PSNR by position of the frame, in dB: 30.0, 32.0.' in text
  assert 'in the box' not in text
  assert '| colour pink | 0.800 |' in text
  assert 'colour: red read as white (100)' in text
  lines = text.splitlines()
  for i, line in enumerate(lines):
    if line.startswith('|---'):
      assert line.count('|') == lines[i - 1].count('|')
      assert not lines[i - 2].strip()


def test_missing_reports_are_left_out():
  report = Report(protocol=PROTOCOL, clips=CLIPS)
  assert set(to_json(report)) == {'protocol', 'clips'}
  assert 'Stories' not in to_markdown(report)
  assert [name for name, _ in sheets(report)] == ['clips']


def test_sheets_are_images_with_a_row_per_clip():
  found = dict(sheets(REPORT))
  assert set(found) == {
    *('clips', 'stories', 'changes', 'image_only', 'reconstructions')
  }
  for sheet in found.values():
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
  # Three rows of clips, two of scenes, one of a concept.
  heights = [found[name].shape[0] for name in ('clips', 'stories')]
  assert heights[0] > heights[1] > found['image_only'].shape[0]
