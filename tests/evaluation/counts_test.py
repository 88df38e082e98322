import math

from phenaki_jax.evaluation.counts import Counts, Table


def test_counts_add_up():
  one, other = Counts(asked=2, right=1), Counts(asked=1, unsure=1)
  assert one + other == Counts(asked=3, right=1, unsure=1)
  assert Table(a=one, b=one, c=other).total == Counts(
    asked=5, right=2, unsure=1
  )
  assert Table().total == Counts()


def test_accuracy_and_standard_error():
  counts = Counts(asked=100, right=80, unsure=5)
  assert counts.accuracy == 0.8
  assert math.isclose(counts.error, 0.04)
  assert Counts(asked=4, right=4).error == 0
  assert math.isnan(Counts().accuracy)
  assert math.isnan(Counts().error)
