"""What fails on one process fails on all."""

import pytest

from phenaki_jax.training import agreement
from phenaki_jax.training.agreement import agreed
from phenaki_jax.training.checkpoint_files import CheckpointError, DamagedError


def _fail(error):
  raise error


def test_one_process_gets_its_result_or_its_own_error():
  assert agreed(lambda: 7) == 7
  for error in (DamagedError('gone'), KeyError('name')):
    with pytest.raises(type(error)) as caught:
      agreed(lambda error=error: _fail(error))
    assert caught.value is error


@pytest.mark.parametrize(
  ('report', 'kind', 'sentence'),
  [
    ([True, 'Checkpoint 3 is damaged'], DamagedError, 'Checkpoint 3 is'),
    (
      [False, 'no permission'],
      CheckpointError,
      'Process 1 cannot .*no',
    ),
  ],
)
def test_the_error_of_another_process_is_raised(
  monkeypatch, report, kind, sentence
):
  monkeypatch.setattr(agreement, 'exchange', lambda own: [own, report])
  with pytest.raises(kind, match=sentence):
    agreed(lambda: 7)


def test_the_own_error_is_sent_to_the_others_first(monkeypatch):
  sent = []
  monkeypatch.setattr(
    agreement, 'exchange', lambda own: sent.append(own) or [own, None]
  )
  with pytest.raises(OSError):
    agreed(lambda: _fail(OSError('the disk\nof process 0')))
  assert sent == [[False, 'the disk']]
