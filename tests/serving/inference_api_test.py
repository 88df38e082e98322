"""The Open Inference Protocol, asked by a published client."""

import concurrent.futures
import inspect
import threading
import time

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from phenaki_jax.media.label import label
from phenaki_jax.serving import inference_api
from phenaki_jax.serving.limits import Limits
from phenaki_jax.stories.story import build, resolve


@pytest.fixture(scope='module')
def infer_client(server):
  client = triton.InferenceServerClient(server.url.removeprefix('http://'))
  yield client
  client.close()


def _inputs(prompts, seeds):
  texts = triton.InferInput('prompt', [len(prompts)], 'BYTES')
  texts.set_data_from_numpy(np.array(prompts, object), binary_data=False)
  numbers = triton.InferInput('seed', [len(seeds)], 'UINT32')
  numbers.set_data_from_numpy(np.array(seeds, np.uint32), binary_data=False)
  return [texts, numbers]


def test_health_and_metadata(infer_client):
  assert infer_client.is_server_live()
  assert infer_client.is_server_ready()
  assert infer_client.is_model_ready('tiny')
  assert infer_client.get_server_metadata()['name'] == 'phenaki_jax'
  metadata = infer_client.get_model_metadata('tiny')
  assert [one['name'] for one in metadata['inputs']] == ['prompt', 'seed']
  with pytest.raises(triton.InferenceServerException, match='no model'):
    infer_client.get_model_metadata('other')


def test_clips_are_those_of_the_model(infer_client, tiny_model):
  prompts, seeds = ['a red circle', 'a blue square'], [7, 2**32 - 1]
  output = triton.InferRequestedOutput('frames', binary_data=False)
  result = infer_client.infer(
    'tiny', _inputs(prompts, seeds), outputs=[output], request_id='mine'
  )
  assert result.get_response()['id'] == 'mine'
  found = result.as_numpy('frames')
  assert found.dtype == np.uint8
  for clip, prompt, seed in zip(found, prompts, seeds, strict=True):
    story = {'scenes': [{'prompt': prompt}]}
    settings = resolve(build(story), tiny_model.defaults).sampling
    (expected,) = tiny_model.sampler.clips(
      [prompt], size=(16, 16), seeds=[seed], settings=settings
    )
    np.testing.assert_array_equal(clip, [label(one) for one in expected])


def test_health_needs_no_thread_of_the_pool(server):
  state = server.config.app.state
  routes = inference_api.make_router(state.studio, state.shared).routes
  health = [one for one in routes if one.path.startswith('/v2/health')]
  assert len(health) == 2
  assert all(inspect.iscoroutinefunction(one.endpoint) for one in health)


def test_requests_of_clips_have_the_limits_of_stories(start_server, tmp_path):
  server = start_server(tmp_path)
  state = server.config.app.state
  batcher, asked, free = state.shared.batcher, [], threading.Event()
  make = batcher._make

  def make_later(batch, size):
    asked.extend(one.prompt for one in batch)
    free.wait(60)
    return make(batch, size)

  def limit(**limits):
    state.studio.limits = Limits(**limits)

  def infer(prompt, **options):
    values = {'inputs': [_input(data=(prompt,))]}
    return client.post('/v2/models/tiny/infer', json=values, **options)

  batcher._make = make_later
  with (
    httpx.Client(base_url=server.url, timeout=60) as client,
    concurrent.futures.ThreadPoolExecutor() as pool,
  ):
    limit(queue=1)
    first = pool.submit(infer, 'one')
    while not asked:
      time.sleep(0.01)
    refused = infer('two')
    limit(queue=3)
    with pytest.raises(httpx.ReadTimeout):
      infer('three', timeout=0.5)
    limit(queue=3, seconds=0.2)
    late = infer('four')
    limit()
    free.set()
    assert first.result().status_code == infer('five').status_code == 200
  assert (refused.status_code, late.status_code) == (429, 429)
  assert '1 requests wait already' in refused.json()['error']
  assert 'not made within 0.2 seconds' in late.json()['error']
  # The clips of those who left and of those who were late were not begun.
  assert asked == ['one', 'five']


def _input(name='prompt', datatype='BYTES', shape=(1,), data=('a',)):
  return {
    'name': name,
    'datatype': datatype,
    'shape': list(shape),
    'data': list(data),
  }


@pytest.mark.parametrize(
  'inputs',
  [
    None,
    [],
    [5],
    [_input(name='other')],
    [_input(name=[])],
    [_input(datatype='FP32')],
    [_input(shape=(2,))],
    [_input(shape=('x',))],
    [_input(shape=(0,), data=())],
    [_input(shape=(9,), data=['a'] * 9)],
    [_input(data=(5,))],
    [_input(), _input('seed', 'UINT32', data=(-1,))],
    [_input(), _input('seed', 'UINT32', data=(2**32,))],
    [_input(), _input('seed', 'UINT32', data=(True,))],
    [_input(), _input('seed', 'UINT32', shape=(2,), data=(1, 2))],
  ],
)
def test_wrong_inputs_are_refused_in_the_form_of_the_protocol(client, inputs):
  answer = client.post('/v2/models/tiny/infer', json={'inputs': inputs})
  assert answer.status_code == 400
  assert isinstance(answer.json()['error'], str)
