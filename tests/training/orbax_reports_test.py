import subprocess
import sys

PROGRAM = """
import asyncio, gc, logging, sys
from phenaki_jax.training import orbax_reports
orbax_reports.silence()
orbax_reports.silence()

async def fail(where):
  raise ValueError(where)

def leave(where):
  loop = asyncio.new_event_loop()
  task = loop.create_task(fail(where))
  loop.run_until_complete(asyncio.sleep(0.01))
  loop.close()
  del task
  gc.collect()

leave('Error writing /run/checkpoints/2')
leave('an error of our own')
loop = asyncio.new_event_loop()
loop.close()
try:
  loop.call_soon_threadsafe(print)
except RuntimeError as error:
  # As TensorStore's threads report it: their frames are no Python frames.
  sys.excepthook(type(error), error, error.__traceback__.tb_next)
  print('late callback', file=sys.stderr)
  sys.excepthook(type(error), error, error.__traceback__)
raise KeyError('crash')
"""


def test_only_what_a_failed_write_leaves_behind_is_silent():
  result = subprocess.run(
    [sys.executable, '-c', PROGRAM], capture_output=True, text=True
  )
  before, after = result.stderr.split('late callback')
  assert 'an error of our own' in before
  assert '/run/checkpoints/2' not in before
  assert 'Event loop is closed' not in before
  assert 'Event loop is closed' in after
  assert "KeyError: 'crash'" in after
