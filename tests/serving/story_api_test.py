"""Stories over HTTP: made, extended, rolled again, followed and refused."""

import base64
import concurrent.futures
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.media import mark
from phenaki_jax.media.credentials import read_certificate, verify
from phenaki_jax.media.label import label
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.stories.generate import generate
from phenaki_jax.stories.story import build, resolve

STORY = {'scenes': [{'prompt': 'a red circle'}, {'prompt': 'it turns green'}]}


def _follow(client, identifier, **headers):
  """Return the events of a story: (id, name, data)."""
  events, event = [], {}
  path = f'/v1/stories/{identifier}/events'
  with client.stream('GET', path, headers=headers) as response:
    assert response.headers['content-type'].startswith('text/event-stream')
    for line in response.iter_lines():
      if line.startswith(':'):
        continue
      if line:
        name, _, value = line.partition(': ')
        event[name] = value
      elif event:  # Nothing comes after a comment that keeps the stream open.
        events.append(
          (event.get('id', ''), event['event'], json.loads(event['data']))
        )
        event = {}
  assert not event, 'the last event is not complete'
  return events


def _frames(model, story):
  """Return the frames of a story without a server."""
  chunks = generate(model.sampler, resolve(build(story), model.defaults))
  return [label(frame) for chunk in chunks for frame in chunk.frames]


def _submit(client, story=None):
  response = client.post('/v1/stories', json=story or STORY)
  assert response.status_code == 202, response.text
  return response.json()


@pytest.fixture(scope='module')
def made(client, wait_for):
  job = _submit(client, {**STORY, 'seed': 5})
  return job, _follow(client, job['id']), wait_for(job['id'])


def test_stream_has_every_frame_once_and_in_order(made, tiny_model):
  job, events, end = made
  names = [name for _, name, _ in events]
  assert names[0] == 'story' and names[-1] == 'end'
  frames = [data for _, name, data in events if name == 'frame']
  places = [(one['scene'], one['frame']) for one in frames]
  lengths = [scene['frames'] for scene in end['scenes']]
  assert places == [(s, f) for s, n in enumerate(lengths) for f in range(n)]
  expected = _frames(tiny_model, {**STORY, 'seed': 5})
  for one, frame in zip(frames, expected, strict=True):
    picture = Image.open(io.BytesIO(base64.b64decode(one['png'])))
    np.testing.assert_array_equal(np.asarray(picture), frame)


def test_client_that_comes_back_receives_only_the_rest(made, client):
  job, events, _ = made
  frames = [event for event in events if event[1] == 'frame']
  again = _follow(client, job['id'], **{'last-event-id': frames[10][0]})
  assert [event for event in again if event[1] == 'frame'] == frames[11:]
  # The id of another revision is no place in this story.
  again = _follow(client, job['id'], **{'last-event-id': '7-1-2'})
  assert [event for event in again if event[1] == 'frame'] == frames


def test_film_gif_sheet_and_record_say_how_they_were_made(
  made, client, tmp_path
):
  _, _, end = made
  for suffix, path in end['files'].items():
    response = client.get(path)
    assert response.status_code == 200
    file = tmp_path / f'film.{suffix}'
    file.write_bytes(response.content)
    record = (
      json.loads(file.read_text())
      if suffix == 'json'
      else read_provenance(file)
    )
    assert record['notice'] == 'AI-generated'
    assert record['story']['scenes'][1]['prompt'] == 'it turns green'
  whole = client.get(end['files']['mp4']).content
  part = client.get(end['files']['mp4'], headers={'range': 'bytes=5-14'})
  assert (part.status_code, part.content) == (206, whole[5:15])


def test_same_seed_gives_the_same_film(made, client, wait_for):
  job, _, end = made
  other = wait_for(_submit(client, {**STORY, 'seed': 5})['id'])
  third = wait_for(_submit(client, {**STORY, 'seed': 6})['id'])
  films = [
    client.get(one['files']['mp4']).content for one in (end, other, third)
  ]
  assert films[0] == films[1] != films[2]


def test_reroll_changes_its_scene_and_keeps_the_earlier_one(client, wait_for):
  job = wait_for(_submit(client, {**STORY, 'seed': 11})['id'])
  before = [data for _, _, data in _follow(client, job['id'])][1:-1]
  answer = client.post(f'/v1/stories/{job["id"]}/scenes/2/reroll')
  assert answer.status_code == 202
  assert answer.json()['revision'] == 1
  wait_for(job['id'])
  after = [data for _, _, data in _follow(client, job['id'])][1:-1]
  count = job['scenes'][0]['frames']
  assert before[:count] == after[:count]
  assert before[count:] != after[count:]
  wrong = client.post(f'/v1/stories/{job["id"]}/scenes/9/reroll')
  assert wrong.status_code == 422
  assert 'scenes 1 to 2' in wrong.json()['error']['message']


def test_scenes_are_appended_while_the_story_is_made(client, tiny_model):
  job = _submit(client, {'scenes': STORY['scenes'], 'seed': 21})
  more = [{'prompt': 'a blue square'}, {'prompt': 'a red circle', 'cut': True}]
  with concurrent.futures.ThreadPoolExecutor() as pool:
    following = pool.submit(_follow, client, job['id'])
    for scene in more:
      answer = client.post(
        f'/v1/stories/{job["id"]}/scenes', json={'scenes': [scene]}
      )
      assert answer.status_code == 202
    events = following.result()
  end = events[-1][2]
  if len(end['scenes']) < 4:  # It was done before the last scene came.
    events = _follow(client, job['id'])
  expected = _frames(
    tiny_model, {'scenes': [*STORY['scenes'], *more], 'seed': 21}
  )
  shown = {}
  for _, name, data in events:
    if name == 'frame':
      shown[data['scene'], data['frame']] = data['png']
  assert len(shown) == len(expected)
  for place, frame in zip(sorted(shown), expected, strict=True):
    picture = Image.open(io.BytesIO(base64.b64decode(shown[place])))
    np.testing.assert_array_equal(np.asarray(picture), frame)


def test_story_file_comes_back_and_yaml_is_read(made, client):
  job, _, _ = made
  shared = client.get(f'/v1/stories/{job["id"]}/story.json').json()
  assert shared == {**STORY, 'seed': 5}
  answer = client.post(
    '/v1/read',
    content='seed: 3\nscenes:\n  - {prompt: "a red circle"}\n',
    headers={'content-type': 'application/yaml'},
  )
  assert answer.json() == {'seed': 3, 'scenes': [{'prompt': 'a red circle'}]}


def test_unknown_words_are_named_before_anything_is_made(client):
  story = {'scenes': [{'prompt': 'a red circl'}]}
  answer = client.post('/v1/check', json=story).json()
  assert 'circle' in answer['remarks'][0]['unknown']['circl']
  refused = client.post('/v1/stories?strict=true', json=story)
  assert refused.status_code == 422
  assert 'circl' in refused.json()['error']['message']


@pytest.mark.parametrize(
  'body',
  [
    '',
    '[]',
    '{',
    '\xff',
    '{"scenes": []}',
    '{"scenes": [{"prompt": ""}]}',
    '{"scenes": [{"prompt": "a\\u0007b"}]}',
    '{"scenes": [{"prompt": "\\ud800"}]}',
    '{"scenes": [{"prompt": 5}]}',
    '{"scenes": [{"prompt": "a", "guidance": NaN}]}',
    '{"scenes": [{"prompt": "a", "guidance": 1e999}]}',
    '{"scenes": [{"prompt": "a", "frames": -1}]}',
    '{"scenes": [{"prompt": "a", "frames": 100000}]}',
    '{"scenes": [{"prompt": "a", "steps": 1000}]}',
    '{"scenes": [{"prompt": "a", "seed": -1}]}',
    '{"scenes": [{"prompt": "a", "other": 1}]}',
    '{"scenes": [{"prompt": "a", "order": "critic"}]}',
    '{"scenes": [{"prompt": "a", "start": "../jobs.sqlite"}]}',
    '{"size": [4096, 4096], "scenes": [{"prompt": "a"}]}',
    '{"scenes": [' + ', '.join(['{"prompt": "a"}'] * 41) + ']}',
    '{"scenes": [{"prompt": "' + 'a ' * 300 + '"}]}',
    '[' * 5000 + ']' * 5000,
    json.dumps({'scenes': [{'prompt': 'a'}], 'seed': 10**400}),
  ],
)
def test_hostile_story_is_refused_and_nothing_is_queued(client, server, body):
  jobs = server.config.app.state.studio.jobs
  before = sum(jobs.count().values())
  answer = client.post('/v1/stories', content=body.encode('latin-1'))
  assert 400 <= answer.status_code < 500, answer.text
  assert answer.json()['error']['message']
  assert sum(jobs.count().values()) == before


@pytest.mark.parametrize(
  ('method', 'path', 'status'),
  [
    ('GET', '/v1/stories/none', 404),
    ('GET', '/v1/stories/none/events', 404),
    ('GET', '/v1/stories/none/film.mp4', 404),
    ('GET', '/v1/stories/none/film.exe', 422),
    ('GET', '/v1/stories/../../etc/passwd', 404),
    ('DELETE', '/v1/stories/none', 404),
    ('POST', '/v1/stories/none/cancel', 404),
    ('POST', '/v1/stories/none/scenes/1/reroll', 404),
    ('POST', '/v1/stories/none/scenes/x/reroll', 422),
    ('PATCH', '/v1/stories', 405),
    ('GET', '/nothing', 404),
  ],
)
def test_wrong_paths_are_answered_in_json(client, method, path, status):
  answer = client.request(method, path)
  assert answer.status_code == status
  assert answer.json()['error']['code'] == status


def test_full_queue_says_when_to_come_back(start_server, tmp_path):
  from phenaki_jax.serving.limits import Limits

  server = start_server(
    tmp_path, limits=Limits(queue=1, frames=2400), workers=1
  )
  long = {'scenes': [{'prompt': 'a', 'frames': 2000}]}
  with httpx.Client(base_url=server.url) as client:
    answers = [client.post('/v1/stories', json=long) for _ in range(4)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused and refused[0].headers['retry-after'] == '5'
    for one in client.get('/v1/stories').json()['stories']:
      assert client.post(f'/v1/stories/{one["id"]}/cancel').status_code == 200
    states = {
      one['status'] for one in client.get('/v1/stories').json()['stories']
    }
    assert states == {'cancelled'}


def test_deadline_fails_a_story_with_a_sentence(start_server, tmp_path):
  from phenaki_jax.serving.limits import Limits

  server = start_server(tmp_path, limits=Limits(seconds=0.001))
  with httpx.Client(base_url=server.url) as client:
    job = _submit(client)
    events = _follow(client, job['id'])
  assert events[-1][2]['status'] == 'failed'
  assert 'within 0.001 seconds' in events[-1][2]['error']


def test_deleted_story_leaves_nothing_but_shared_scenes(
  client, server, wait_for
):
  studio = server.config.app.state.studio
  story = {'scenes': [{'prompt': 'a blue square'}], 'seed': 31}
  first, second = (_submit(client, story)['id'] for _ in range(2))
  wait_for(first)
  wait_for(second)
  (key,) = studio.keys(studio.jobs.get(first))
  scene = studio.folder / 'scenes' / f'{key}.npy'
  assert client.delete(f'/v1/stories/{first}').status_code == 204
  assert not (studio.folder / 'films' / first).exists()
  assert scene.is_file()
  client.delete(f'/v1/stories/{second}')
  assert not scene.exists()


def test_page_and_metrics_are_served(client):
  page = client.get('/')
  assert 'Storyboard' in page.text
  for name, kind in (('page.css', 'text/css'), ('page.js', 'text/javascript')):
    assert f'="{name}"' in page.text
    part = client.get(f'/{name}')
    assert part.headers['content-type'].startswith(kind) and part.text
  assert "frame-ancestors 'none'" in page.headers['content-security-policy']
  metrics = client.get('/metrics').text
  assert (
    'phenaki_requests_total{method="GET",route="/",status="200"}' in metrics
  )
  assert 'phenaki_stories{status="done"}' in metrics


def test_films_are_marked_and_signed(start_server, signing, tmp_path):
  server = start_server(
    tmp_path / 'served',
    marked=True,
    certificate=read_certificate(signing / 'signer.pem'),
  )
  with httpx.Client(base_url=server.url, timeout=60) as client:
    identifier = _submit(client)['id']
    _follow(client, identifier)
    response = client.get(f'/v1/stories/{identifier}/film.mp4')
  film = tmp_path / 'film.mp4'
  film.write_bytes(response.content)
  trusted = verify(film, trust=signing / 'root.pem')
  assert trusted == 'Trusted, signed by signer'
  assert mark.score_film(film) > mark.THRESHOLD
