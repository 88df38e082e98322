"""The models that ship with the package make the same tokens as before.

After an intended change of what they make, refresh the golden file and review
it:

    PHENAKI_REFRESH_GOLDENS=1 python -m pytest tests/reference_test.py
"""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest

from phenaki_jax.runs import open as models

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'reference.json'
# Words that each of them knows, and a scene that continues the first.
PROMPTS = {
  'storyworld': ('a red circle moving right on grass', 'it turns blue'),
  'lpc': ('a man walks to the left on the grass', 'he draws a bow facing left'),
}


def _made(name, prompts):
  """Return the token ids of two scenes, a list for each latent frame.

  Bits of floats differ between machines, but these ids do not: two decoding
  steps take the likeliest tokens, and no weight that is off by 1e-4 of itself
  changes one.
  """
  model = models.load(name)
  sampler, defaults = model.sampler, model.defaults
  settings = dataclasses.replace(defaults.settings, steps=2, temperature=0.0)
  context, rows = None, []
  for prompt in prompts:
    given = sampler.given(context, size=defaults.size, batch=1)
    ids = sampler.completed(
      [prompt],
      ids=given.ids,
      known=given.known,
      seeds=[0],
      settings=settings,
      conditions=given.conditions,
    )
    rows += ids.reshape(len(ids[0]), -1).tolist()
    context = sampler.decode(ids)[:, -defaults.context_frames :]
  return rows


@pytest.mark.parametrize('name', PROMPTS)
def test_a_story_of_two_scenes_has_the_tokens_of_its_golden(name):
  made = _made(name, PROMPTS[name])
  golden = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
  if os.environ.get('PHENAKI_REFRESH_GOLDENS') == '1':
    golden[name] = made
    lines = (f'"{key}": {json.dumps(rows)}' for key, rows in golden.items())
    GOLDEN.write_text('{' + ',\n'.join(lines) + '}\n')
  np.testing.assert_array_equal(made, golden[name])
