"""Scores count right and sure readings; thresholds make sure ones reliable."""

import math

import numpy as np
import pytest

from phenaki_jax import lpc
from phenaki_jax.evaluation import reader_accuracy
from phenaki_jax.lpc.facts import FACT_NAMES, Facts
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.reader import FactReading, Reader

FACTS = Facts(
  kind='man',
  hair='red',
  hair_style='long',
  outfit='teal',
  pants='red',
  action='walk',
  direction='right',
  place='grass',
)


class ConstantReader(Reader):
  """Reads the same facts in all frames, and is sure of all but the kind."""

  def read(self, frames):
    assert frames.dtype == np.uint8 and frames.shape[1:] == (32, 32, 3)
    return {
      fact: FactReading(value=value, confidence=0.5, is_sure=fact != 'kind')
      for fact, value in FACTS.as_dict().items()
    }


def test_readings_are_compared_with_the_facts(sprite_sheets):
  sheets = lpc.Sheets(sprite_sheets)
  scores = reader_accuracy.score(
    ConstantReader(config=ReaderConfig(), params={}),
    sheets,
    number=6,
    seed=0,
    size=32,
  )
  for kind in reader_accuracy.KINDS:
    drawn = reader_accuracy.examples(kind, 6, sheets, seed=0, size=32)
    facts = [facts.as_dict() for _, facts in drawn]
    for condition in reader_accuracy.CONDITIONS:
      for fact in FACT_NAMES:
        right = sum(one[fact] == getattr(FACTS, fact) for one in facts)
        sure = fact != 'kind'
        assert scores[kind, condition][fact] == reader_accuracy.FactScore(
          asked=6, right=right, sure=6 * sure, sure_right=right * sure
        )
  table = reader_accuracy.to_markdown(scores)
  right, sure, legend, summary = table.split('\n\n')
  assert len(right.splitlines()) == 2 + 8 and len(sure.splitlines()) == 2 + 2
  # It is never sure of the kind, and always of the other facts.
  cells = sure.splitlines()[-1].split('|')[2:-1]
  assert cells[0].strip() == '0.00, nan' and '1.00, ' in cells[1]
  assert 'sure of 0.89 of the facts of clips' in summary
  assert 'at which 0.98 of the readings' in legend
  place = scores['clips', 'H.264']['place'].accuracy
  line = next(x for x in table.splitlines() if '| clips, H.264' in x)
  assert f'{place:.3f}' in line.split('|')[9]


def test_examples_are_held_out(sprite_sheets):
  sheets = lpc.Sheets(sprite_sheets)
  for kind, frames in (('clips', {9, 12, 16}), ('images', {1})):
    for pixels, facts in reader_accuracy.examples(
      kind, 8, sheets, seed=0, size=32
    ):
      assert len(pixels) in frames
      assert lpc.is_held_out(facts) or None in (facts.hair, facts.pants)


def test_conditions_change_frames_a_little(sprite_sheets):
  sheets = lpc.Sheets(sprite_sheets)
  ((frames, _),) = reader_accuracy.examples('clips', 1, sheets, seed=0, size=64)
  for condition in reader_accuracy.CONDITIONS:
    found = reader_accuracy.apply_condition(frames, condition)
    assert found.shape == frames.shape and found.dtype == np.uint8
    error = np.abs(found.astype(float) - frames).mean()
    assert (error == 0) == (condition == 'clean')
    assert error < 20


def test_lowest_threshold_leaves_reliable_readings():
  readings = [(0.9, True)] * 98 + [(0.6, False)] * 2 + [(0.5, False)]
  assert reader_accuracy.lowest_threshold(readings) == pytest.approx(0.6)
  worse = [*readings, (0.7, False)]
  assert reader_accuracy.lowest_threshold(worse) == pytest.approx(0.7)
  assert reader_accuracy.lowest_threshold([(0.9, False)]) > 1
  assert math.isnan(reader_accuracy.FactScore().accuracy)
