"""What the figure of a run's time shows, in its pixels."""

import numpy as np
import pytest

from phenaki_jax.runs import goodput_figure
from phenaki_jax.runs.goodput import REASONS, Goodput, Span


def _goodput(*parts):
  spans, now = [], 0.0
  for kind, seconds in parts:
    spans.append(Span(kind=kind, begin=now, end=now + seconds))
    now += seconds
  return Goodput(starts=1, preempted=0, steps=1, lost=0, spans=tuple(spans))


def _area(image, kind):
  """Return the share of the time line that has the colour of a kind."""
  top, left = goodput_figure._TOP, goodput_figure._MARGIN
  line = image[top : top + goodput_figure._LINE, left:-left]
  return (line == goodput_figure._COLOURS[kind]).all(-1).mean()


@pytest.mark.parametrize('repeats', [1, 300])
def test_areas_of_the_time_line_are_as_large_as_the_shares(repeats):
  seconds = {kind: 1.0 + index for index, kind in enumerate(REASONS)}
  image = goodput_figure.draw(_goodput(*(list(seconds.items()) * repeats)))
  for kind, value in seconds.items():
    share = value / sum(seconds.values())
    assert _area(image, kind) == pytest.approx(share, abs=0.006)


def test_the_time_line_runs_from_left_to_right():
  image = goodput_figure.draw(_goodput(('compile', 1.0), ('steps', 3.0)))
  first, middle, last = image[goodput_figure._TOP + 50, [30, 300, 970]]
  assert tuple(first) == goodput_figure._COLOURS['compile']
  assert tuple(middle) == tuple(last) == goodput_figure._COLOURS['steps']


def test_a_short_time_is_visible():
  image = goodput_figure.draw(_goodput(('steps', 1e6), ('save', 0.01)))
  assert (image == goodput_figure._COLOURS['save']).all(-1).any()


def test_colours_are_told_apart():
  colours = np.array(list(goodput_figure._COLOURS.values()), float)
  apart = np.abs(colours[:, None] - colours[None]).sum(-1)
  assert apart[~np.eye(len(colours), dtype=bool)].min() > 60


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(0.04, '0.0 s'), (119.0, '119.0 s'), (120.0, '2.0 min'), (9e3, '2.5 h')],
)
def test_durations_are_readable(seconds, text):
  assert goodput_figure._duration(seconds) == text
