"""The published client of the OpenAI Videos API works with the server."""

import openai
import pytest

from phenaki_jax.media.provenance import read_provenance

# The client warns that the service it was made for is shut down.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')


@pytest.fixture(scope='module')
def videos(server):
  client = openai.OpenAI(
    base_url=f'{server.url}/v1', api_key='none', max_retries=0
  )
  yield client.videos
  client.close()


@pytest.fixture(scope='module')
def made(videos):
  return videos.create_and_poll(
    prompt='a red circle', seconds='1', poll_interval_ms=50
  )


def test_video_is_created_and_completed(made, videos):
  assert (made.status, made.progress, made.object) == (
    'completed',
    100,
    'video',
  )
  assert (made.model, made.seconds, made.size) == ('tiny', '1', '16x16')
  assert made.completed_at >= made.created_at
  assert videos.retrieve(made.id) == made


def test_content_is_film_first_frame_or_sheet(made, videos, tmp_path):
  film = videos.download_content(made.id).content
  assert film[4:8] == b'ftyp'
  for variant in ('thumbnail', 'spritesheet'):
    image = videos.download_content(made.id, variant=variant).content
    path = tmp_path / f'{variant}.png'
    path.write_bytes(image)
    record = read_provenance(path)
    assert record['notice'] == 'AI-generated'
    assert record['model']['name'] == 'tiny'
    assert record['story']['scenes'][0]['prompt'] == 'a red circle'
  part = videos.download_content(
    made.id, extra_headers={'Range': 'bytes=-10'}
  ).content
  assert part == film[-10:]


def test_remix_has_a_new_prompt_and_names_its_source(made, videos):
  other = videos.remix(made.id, prompt='a blue square')
  assert other.prompt == 'a blue square'
  assert other.remixed_from_video_id == made.id
  assert videos.poll(other.id, poll_interval_ms=50).status == 'completed'


def test_list_has_pages_and_deleted_videos_are_gone(made, videos):
  ids = [
    videos.create(prompt='a red circle', seconds='1', size='16x16').id
    for _ in range(2)
  ]
  for one in ids:
    videos.poll(one, poll_interval_ms=50)
  page = videos.list(limit=1)
  assert [one.id for one in page.data] == [ids[1]]
  assert [one.id for one in page.get_next_page().data] == [ids[0]]
  seen = [one.id for one in videos.list(limit=1, order='asc')]
  assert seen.index(made.id) < seen.index(ids[0]) < seen.index(ids[1])
  gone = videos.delete(ids[0])
  assert (gone.id, gone.deleted) == (ids[0], True)
  with pytest.raises(openai.NotFoundError, match='no story'):
    videos.retrieve(ids[0])


@pytest.mark.parametrize(
  ('options', 'words'),
  [
    ({'prompt': ''}, 'prompt is empty'),
    ({'prompt': 'a', 'seconds': 'NaN'}, 'seconds'),
    ({'prompt': 'a', 'seconds': '-4'}, 'seconds'),
    ({'prompt': 'a', 'seconds': '99999'}, 'frames'),
    ({'prompt': 'a', 'size': '1280x720'}, '16x16'),
    ({'prompt': 'a', 'model': 'sora-2'}, 'tiny'),
    ({'prompt': 'a', 'extra_body': {'seed': '1.5'}}, 'seed'),
    ({'prompt': 'a', 'extra_body': {'other': '1'}}, 'other'),
  ],
)
def test_wrong_request_is_an_error_of_the_client(videos, options, words):
  with pytest.raises(openai.UnprocessableEntityError, match=words):
    videos.create(**options)


def test_seed_gives_the_same_video(videos):
  films = []
  for seed in ('3', '3', '4'):
    video = videos.create_and_poll(
      prompt='a red circle',
      seconds='1',
      extra_body={'seed': seed},
      poll_interval_ms=50,
    )
    films.append(videos.download_content(video.id).content)
  assert films[0] == films[1] != films[2]


def test_input_reference_is_refused(videos):
  with pytest.raises(openai.BadRequestError):
    videos.create(prompt='a', input_reference=b'image')
