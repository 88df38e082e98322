"""Short forms of the benchmark of the server."""

import hashlib
import importlib.util
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'serving.py'


@pytest.fixture(scope='module')
def serving():
  spec = importlib.util.spec_from_file_location('serving', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.slow
def test_killed_server_loses_nothing_and_makes_nothing_twice(
  serving, tiny_bundle, tmp_path
):
  from phenaki_jax.runs.open import load
  from phenaki_jax.stories.generate import generate
  from phenaki_jax.stories.story import build, resolve

  stories = [
    {
      'seed': seed,
      'scenes': [{'prompt': 'a red circle', 'frames': 60}] * 5
      + [{'prompt': 'a blue square', 'cut': True}],
    }
    for seed in range(2)
  ]
  found = serving.kill_often(
    tmp_path / 'data', stories, kills=3, seconds=3.0, model=str(tiny_bundle)
  )
  assert (found['lost'], found['twice']) == (0, 0)
  # The frames are those that nobody interrupted.
  model = load(tiny_bundle)
  for story, digest in zip(stories, found['frames'], strict=True):
    expected = hashlib.sha256()
    for chunk in generate(model.sampler, resolve(build(story), model.defaults)):
      expected.update(chunk.frames.tobytes())
    assert digest == expected.hexdigest()


@pytest.mark.slow
def test_load_loses_no_story(serving, tiny_bundle, tmp_path):
  found = serving.load_test(
    tmp_path / 'data',
    requests=24,
    clients=8,
    model=str(tiny_bundle),
    options=('--queue', '3'),
  )
  assert found['lost'] == 0
  assert found['stories_done'] == 24
  assert found['refused_and_sent_again'] > 0
  growth = found['memory_at_the_end_mb'] / found['memory_after_a_quarter_mb']
  assert growth < 1.1


@pytest.mark.slow
def test_scenes_appended_while_watching_arrive(serving, tiny_bundle, tmp_path):
  found = serving.live(tmp_path / 'data', scenes=4, model=str(tiny_bundle))
  assert found['frames'] == 4 * 9
  assert found['frames_a_second'] > 0
