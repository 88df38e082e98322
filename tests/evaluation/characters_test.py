"""F1 and the accuracy of frames, against tables that were filled by hand."""

import math

import numpy as np
import pytest

from phenaki_jax.evaluation.characters import score_characters, to_markdown

# Four frames of three characters.
SHOWN = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
FOUND = [[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]


def score(found, shown):
  return score_characters(np.array(found, bool), np.array(shown, bool))


def test_scores_equal_a_table_filled_by_hand():
  scores = score(FOUND, SHOWN)
  # The first character: 2 right, 3 found, 2 shown. The second: 1, 1, 2.
  assert scores.f1[:2] == (2 * 2 / 5, 2 * 1 / 3)
  assert math.isnan(scores.f1[2])
  assert scores.micro_f1 == 2 * 3 / 8
  assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
  # The second and the third frame are wrong.
  assert scores.frame_accuracy == 0.5
  assert scores.frames == 4


def test_a_frequent_character_weighs_more_in_micro_than_in_macro():
  shown = [[1, 0]] * 9 + [[0, 1]]
  found = [[1, 0]] * 9 + [[0, 0]]
  scores = score(found, shown)
  assert scores.f1 == (1.0, 0.0)
  assert scores.micro_f1 == 18 / 19
  assert scores.macro_f1 == 0.5
  assert scores.frame_accuracy == 0.9


def test_all_right_and_all_wrong():
  assert score(SHOWN, SHOWN).micro_f1 == score(SHOWN, SHOWN).macro_f1 == 1
  assert score(SHOWN, SHOWN).frame_accuracy == 1
  wrong = score(1 - np.array(SHOWN), SHOWN)
  assert wrong.micro_f1 == wrong.macro_f1 == wrong.frame_accuracy == 0


def test_nothing_shown_and_nothing_found_has_no_f1():
  scores = score([[0, 0]], [[0, 0]])
  assert math.isnan(scores.micro_f1) and math.isnan(scores.macro_f1)
  assert scores.frame_accuracy == 1
  with pytest.raises(ValueError, match='no frame to score'):
    score(np.zeros((0, 2)), np.zeros((0, 2)))


def test_table_has_a_row_for_each_character():
  lines = to_markdown(score(FOUND, SHOWN), ('Fred', 'Dino', 'Poby')).split('\n')
  assert lines[2].endswith('(micro) | 0.750 |')
  assert lines[-3:] == [
    '| F1 of Fred | 0.800 |',
    '| F1 of Dino | 0.667 |',
    '| F1 of Poby | nan |',
  ]
