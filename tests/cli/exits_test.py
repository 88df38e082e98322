"""Exit codes, and which errors end in one sentence."""

import argparse
import errno

import jax
import pytest

from phenaki_jax.cli import exits
from phenaki_jax.errors import NotFoundError, UserError


def _run(error):
  def fail(args):
    raise error

  return exits.run(argparse.Namespace(command='train', run=fail))


@pytest.mark.parametrize(
  ('error', 'sentence'),
  [
    (OSError(errno.ENOSPC, 'No space left', 'x'), 'the disk is full'),
    (OSError(errno.EACCES, 'Denied', '/x/y'), 'Denied: /x/y'),
    (UserError('two\n  lines'), 'two lines'),
    (UserError(), 'UserError'),
    (NotFoundError('there is no x'), 'there is no x'),
    (FloatingPointError('step 3 is not finite'), 'step 3 is not finite'),
    (MemoryError(), 'out of memory'),
  ],
)
def test_errors_of_the_user_end_in_a_sentence(error, sentence, capsys):
  assert _run(error) == 2
  said = capsys.readouterr().err
  assert said.startswith(f'phenaki train: {sentence}') and said.count('\n') == 1


@pytest.mark.parametrize(
  'error',
  [
    ValueError('shapes differ'),
    OSError('cannot identify image file'),
    AssertionError(),
    KeyError('width'),
  ],
  ids=repr,
)
def test_bugs_keep_their_stack_trace(error):
  with pytest.raises(type(error)) as caught:
    _run(error)
  assert caught.value is error


def test_stack_trace_of_a_user_error_is_shown_on_request(monkeypatch):
  monkeypatch.setenv('PHENAKI_TRACEBACK', '1')
  with pytest.raises(UserError, match='wrong'):
    _run(UserError('wrong'))


def test_memory_of_a_device_that_ran_out_ends_in_a_sentence():
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jax.numpy.zeros((1 << 25, 1 << 25)).block_until_ready()
  assert exits.sentence(caught.value).startswith('out of memory')


@pytest.mark.parametrize(('given', 'code'), [(None, 0), (0, 0), (75, 75)])
def test_exit_code_is_that_of_the_command(given, code):
  arguments = argparse.Namespace(command='train', run=lambda args: given)
  assert exits.run(arguments) == code
