import math

from phenaki_jax.evaluation.tally import Tally, total


def test_counts_add_up():
  tally = Tally().add(True, False).add(False, True).add(False, False)
  assert tally == Tally(asked=3, right=1, unsure=1)
  assert total([tally, tally]) == Tally(asked=6, right=2, unsure=2)
  assert total([]) == Tally()


def test_shares_and_errors():
  tally = Tally(asked=100, right=80, unsure=5)
  assert tally.accuracy == 0.8
  assert math.isclose(tally.error, 0.04)
  assert Tally(asked=4, right=4).error == 0
  assert math.isnan(Tally().accuracy)
  assert math.isnan(Tally().error)
