"""The storyboard page in a real browser, by pointer, keyboard and phone."""

import json
import shutil

import httpx
import pytest
import yaml
from playwright import sync_api

CHROMIUM = next(
  filter(None, map(shutil.which, ('chromium', 'google-chrome'))), None
)
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    CHROMIUM is None,
    reason='there is no chromium on the path: apt-get install chromium',
  ),
]


@pytest.fixture(scope='module')
def browser():
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=CHROMIUM, args=['--no-sandbox']
    )
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser):
  """Return a function that opens the page; errors of its script fail."""
  errors, contexts = [], []

  def start(url, **options):
    context = browser.new_context(**options)
    context.set_default_timeout(60_000)
    contexts.append(context)
    page = context.new_page()
    page.on('pageerror', lambda error: errors.append(error))
    page.goto(url)
    return page

  yield start
  for context in contexts:
    context.close()
  assert not errors


@pytest.fixture
def page(open_page, server):
  return open_page(server.url)


def _write(page, *prompts):
  for number, prompt in enumerate(prompts, 1):
    page.get_by_role('button', name='Add a scene').click()
    page.get_by_label(f'Scene {number}: what happens').fill(prompt)


def _make(page, button='Make the film'):
  page.get_by_role('button', name=button).click()
  page.get_by_text('the film is done').wait_for()


def _images(page, number):
  images = page.locator(f'li.scene:nth-child({number}) .strip img')
  return [one.get_attribute('src') for one in images.all()]


def _prompts(page):
  return [one.input_value() for one in page.locator('li.scene textarea').all()]


def _save(page, button):
  with page.expect_download() as download:
    page.get_by_role('button', name=button, exact=True).click()
  with open(download.value.path(), 'rb') as file:
    return file.read()


def test_story_is_written_watched_rolled_again_and_downloaded(page):
  _write(page, 'a red circle', 'it turns green')
  _make(page)
  before = [_images(page, number) for number in (1, 2)]
  assert [len(images) for images in before] == [9, 9]
  sync_api.expect(page.locator('#screen')).to_have_attribute(
    'aria-label', 'scene 2: it turns green'
  )
  film = _save(page, 'Film')
  assert film[4:8] == b'ftyp'
  for button, start in (('GIF', b'GIF89a'), ('Contact sheet', b'\x89PNG')):
    assert _save(page, button).startswith(start)
  page.get_by_role('button', name='Roll again: Scene 2').click()
  # The images of the scene are replaced when its new frames arrive.
  page.wait_for_function(
    """(old) => {
      const all = document.querySelectorAll('li.scene:nth-child(2) img');
      return all.length === 9 && all[8].src !== old;
    }""",
    arg=before[1][8],
  )
  page.get_by_text('the film is done').wait_for()
  assert _images(page, 1) == before[0]
  assert _images(page, 2) != before[1]
  assert _save(page, 'Film') != film
  # The address of the page is that of the story.
  address, images = page.url, _images(page, 2)
  page.goto('about:blank')
  page.goto(address)
  page.get_by_text('the film is done').wait_for()
  assert _prompts(page) == ['a red circle', 'it turns green']
  # The frames of a finished film arrive after its state.
  shown = page.locator('li.scene:nth-child(2) img')
  sync_api.expect(shown).to_have_count(len(images))
  assert _images(page, 2) == images


def test_scene_is_added_to_a_film_and_scenes_change_places(page):
  _write(page, 'a red circle', 'it turns green')
  _make(page)
  first = _images(page, 1)
  page.get_by_role('button', name='Add a scene').click()
  page.get_by_label('Scene 3: what happens').fill('a blue square')
  _make(page, 'Make the film again')
  page.wait_for_function(
    "() => document.querySelectorAll('li.scene:nth-child(3) img').length === 9"
  )
  assert _images(page, 1) == first
  page.get_by_role('button', name='Move up: Scene 3').click()
  assert _prompts(page) == ['a red circle', 'a blue square', 'it turns green']
  page.get_by_role('button', name='Remove: Scene 2').click()
  assert _prompts(page) == ['a red circle', 'it turns green']


def test_frames_come_to_the_cards_of_their_scenes(page):
  _write(page, 'a red circle', 'it turns green', 'a blue square')
  _make(page)
  before = [_images(page, number) for number in (1, 2, 3)]
  held = []
  page.route('**/events', lambda route: held.append(route))
  with page.expect_request('**/events'):
    page.reload()
  page.get_by_role('button', name='Move up: Scene 3').click()
  page.get_by_role('button', name='Remove: Scene 1').click()
  for route in held:
    route.continue_()
  shown = page.locator('li.scene:nth-child(2) .strip img')
  sync_api.expect(shown).to_have_count(9)
  assert [_images(page, number) for number in (1, 2)] == [before[2], before[1]]


def test_example_is_offered_where_there_is_one(page):
  button = page.get_by_role('button', name='Start with an example')
  button.wait_for()
  page.route(
    '**/v1/model',
    lambda route: route.fulfill(json={**route.fetch().json(), 'example': None}),
  )
  page.reload()
  page.get_by_text('Words that this model knows').wait_for()
  assert not button.is_visible()


def test_keyboard_alone_writes_and_makes_a_story(page):
  page.get_by_role('button', name='Start with an example').focus()
  page.keyboard.press('Enter')
  # The focus is in the first scene.
  page.keyboard.press('Control+A')
  page.keyboard.type('a blue square')
  for _ in range(2):  # Move up is off, then Move down.
    page.keyboard.press('Tab')
    if page.evaluate("document.activeElement.dataset.do === 'down'"):
      break
  page.keyboard.press('Enter')
  assert _prompts(page)[1] == 'a blue square'
  assert page.evaluate("document.activeElement.dataset.do === 'down'")
  page.locator('li.scene textarea').first.focus()
  page.keyboard.press('Control+Enter')
  page.get_by_text('the film is done').wait_for()


def test_unknown_word_is_said_at_once_and_replaced(page):
  _write(page, 'a red circl')
  page.get_by_text('The model never saw “circl”').wait_for()
  page.get_by_role('button', name='replace circl by circle').click()
  assert _prompts(page) == ['a red circle']
  page.get_by_text('The model never saw').wait_for(state='hidden')


def test_errors_are_sentences_and_nothing_is_lost(page):
  page.get_by_role('button', name='Add a scene').click()
  page.get_by_role('button', name='Make the film').click()
  page.get_by_text('Scene 1 is empty').wait_for()
  page.get_by_label('Scene 1: what happens').fill('a ' * 300)
  page.get_by_role('button', name='Make the film').click()
  page.get_by_text('at most 400 characters').wait_for()
  assert _prompts(page) == ['a ' * 300]


def test_story_file_is_saved_and_opened(page, tmp_path):
  story = {
    'seed': 12,
    'scenes': [
      {'prompt': 'a red circle', 'frames': 12},
      {'prompt': '<img src=x onerror=alert(1)>', 'cut': True},
    ],
  }
  path = tmp_path / 'mine.yaml'
  path.write_text(yaml.safe_dump(story))
  page.locator('#file').set_input_files(path)
  page.get_by_label('Scene 2: what happens').wait_for()
  assert _prompts(page) == [one['prompt'] for one in story['scenes']]
  assert json.loads(_save(page, 'Save as story file')) == story
  path.write_text('scenes: 5')
  page.locator('#file').set_input_files(path)
  page.get_by_text('scenes must be a list').wait_for()


def test_page_fits_a_phone_and_teaches_when_empty(open_page, server):
  page = open_page(
    server.url, viewport={'width': 360, 'height': 740}, has_touch=True
  )
  page.get_by_text('A story is a list of scenes.').wait_for()
  page.get_by_role('button', name='Start with an example').tap()
  _make(page)
  assert page.evaluate('document.documentElement.scrollWidth') <= 360
  sizes = page.locator('li.scene button').evaluate_all(
    'all => all.map((one) => one.getBoundingClientRect().height)'
  )
  assert min(sizes) >= 40


def test_page_asks_for_the_token(open_page, start_server, tmp_path):
  token = 'a-token-of-the-test'
  server = start_server(tmp_path, token=token)
  assert httpx.get(f'{server.url}/v1/model').status_code == 401
  page = open_page(server.url)
  page.get_by_text('send the token').wait_for()
  page.get_by_label('Token of this server').fill(token)
  page.get_by_role('button', name='Use it').click()
  _write(page, 'a red circle')
  _make(page)
  assert _save(page, 'Film')[4:8] == b'ftyp'
