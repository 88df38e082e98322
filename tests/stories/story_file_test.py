import json

import jsonschema
import pydantic
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.stories import story_file
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.stories.story_file import parse_story

EXAMPLE = """\
size: [64, 64]          # height, width in pixels
fps: 8
seed: 7
context_frames: 5
scenes:
  - {prompt: "a red circle moves right on grass", frames: 17}
  - {prompt: "the red circle turns blue", frames: 12, guidance: 6.0}
  - {prompt: "it falls", seconds: 2.0, cut: false}
"""


def test_example_is_read_whole():
  assert parse_story(EXAMPLE) == Story(
    size=(64, 64),
    fps=8.0,
    seed=7,
    context_frames=5,
    scenes=(
      Scene(prompt='a red circle moves right on grass', frames=17),
      Scene(prompt='the red circle turns blue', frames=12, guidance=6.0),
      Scene(prompt='it falls', seconds=2.0, cut=False),
    ),
  )


def test_json_gives_the_same_story():
  as_json = json.dumps(
    {
      'size': [64, 64],
      'fps': 8,
      'seed': 7,
      'context_frames': 5,
      'scenes': [
        {'prompt': 'a red circle moves right on grass', 'frames': 17},
        {'prompt': 'the red circle turns blue', 'frames': 12, 'guidance': 6.0},
        {'prompt': 'it falls', 'seconds': 2.0, 'cut': False},
      ],
    },
    indent='\t',
  )
  assert parse_story(as_json, is_json=True) == parse_story(EXAMPLE)


def test_only_prompts_are_needed():
  story = parse_story('scenes:\n- prompt: it falls\n')
  assert story == Story(scenes=(Scene(prompt='it falls'),))
  assert story.size is None and story.seed == 0


def test_white_space_of_prompts_is_normalised():
  story = parse_story('scenes:\n- prompt: >\n    it falls\n    down\n')
  assert story.scenes[0].prompt == 'it falls down'


def test_unicode_prompts_are_kept():
  for text in ('ein großer Ball \U0001f388', '赤い丸', 'é' * 1000):
    story = parse_story(
      json.dumps({'scenes': [{'prompt': text}]}), is_json=True
    )
    assert story.scenes[0].prompt == text


# (text, line, words of the message)
BAD = {
  'empty': ('', 1, 'empty'),
  'only a comment': ('# nothing\n', 1, 'empty'),
  'a list': ('- prompt: x\n', 1, 'a story must be a group of keys'),
  'a word': ('hello', 1, "not 'hello'"),
  'no scenes': ('fps: 8\n', 1, 'add "scenes:"'),
  'scenes empty': ('fps: 8\nscenes: []\n', 2, '1 to 1000'),
  'scenes a word': ('scenes: many\n', 1, "not 'many'"),
  'unknown key': (
    'fps: 8\nframe_rate: 8\nscenes: [{prompt: x}]',
    2,
    "unknown story key 'frame_rate'",
  ),
  'key nearly right': (
    'context_frame: 5\nscenes: [{prompt: x}]',
    1,
    'did you mean context_frames?',
  ),
  'scene key nearly right': (
    'scenes:\n- prompt: x\n- prompt: y\n  guidence: 3\n',
    4,
    'did you mean guidance? Allowed: candidates, context_frames, cut',
  ),
  'prompt misspelt': (
    'scenes:\n- promt: x\n- prompt: y\n',
    2,
    'did you mean prompt?',
  ),
  'key of a scene in the story': (
    'guidance: 3\nscenes: [{prompt: x}]',
    1,
    "unknown story key 'guidance'",
  ),
  'key twice': ('fps: 8\nfps: 9\nscenes: [{prompt: x}]', 2, 'appears twice'),
  'key no word': ('8: 9\nscenes: [{prompt: x}]', 1, 'a key must be a word'),
  'scene a word': ('scenes:\n- x\n', 2, 'a scene must be a group of keys'),
  'no prompt': ('scenes:\n- prompt: x\n- frames: 9\n', 3, 'has no prompt'),
  'prompt empty': ('scenes:\n- prompt: " "\n', 2, 'is empty'),
  'prompt a number': ('scenes:\n- prompt: 5\n', 2, 'in quotation marks'),
  'prompt nothing': ('scenes:\n- prompt:\n', 2, 'a value is missing'),
  'frames nothing': (
    'scenes:\n- prompt: x\n  frames:\n',
    3,
    'a value is missing',
  ),
  'prompt a list': ('scenes:\n- prompt: [x]\n', 2, 'must be text'),
  'prompt a group': ('scenes:\n- prompt: {x: y}\n', 2, "not {'x': 'y'}"),
  'prompt long': ('scenes:\n- prompt: ' + 'x' * 10_000, 2, '10000 characters'),
  'control character': (
    'scenes:\n- prompt: "a\\u0007b"\n',
    2,
    'control character',
  ),
  'frames zero': (
    'scenes:\n- prompt: x\n  frames: 0\n',
    3,
    'from 1 to 100000, not 0',
  ),
  'frames below zero': ('scenes:\n- {prompt: x, frames: -3}\n', 2, 'not -3'),
  'frames a fraction': ('scenes:\n- {prompt: x, frames: 9.5}\n', 2, 'whole'),
  'frames a word': ('scenes:\n- {prompt: x, frames: nine}\n', 2, "not 'nine'"),
  'frames true': ('scenes:\n- {prompt: x, frames: true}\n', 2, 'not True'),
  'frames huge': ('scenes:\n- {prompt: x, frames: 1000000}\n', 2, 'to 100000'),
  'frames and seconds': (
    'scenes:\n- prompt: x\n  frames: 8\n  seconds: 1\n',
    2,
    'give one of them',
  ),
  'seconds zero': ('scenes:\n- {prompt: x, seconds: 0}\n', 2, 'above 0'),
  'seconds nan': ('scenes:\n- {prompt: x, seconds: .nan}\n', 2, 'not nan'),
  'seconds endless': ('scenes:\n- {prompt: x, seconds: .inf}\n', 2, 'not inf'),
  'cut a number': ('scenes:\n- {prompt: x, cut: 1}\n', 2, 'true or false'),
  'guidance below zero': (
    'scenes:\n- {prompt: x, guidance: -1}\n',
    2,
    'from 0 to 100',
  ),
  'steps none': ('scenes:\n- {prompt: x, steps: 0}\n', 2, 'from 1 to 1000'),
  'temperature a word': (
    'scenes:\n- {prompt: x, temperature: hot}\n',
    2,
    "not 'hot'",
  ),
  'scene seed': ('scenes:\n- {prompt: x, seed: -1}\n', 2, '4294967295'),
  'seed too big': ('seed: 4294967296\nscenes: [{prompt: x}]', 1, '4294967295'),
  'size a number': ('size: 64\nscenes: [{prompt: x}]', 1, '[height, width]'),
  'size of three': (
    'size: [64, 64, 3]\nscenes: [{prompt: x}]',
    1,
    '[height, width]',
  ),
  'size tiny': (
    'size: [64, 4]\nscenes: [{prompt: x}]',
    1,
    'from 8 to 4096, not 4',
  ),
  'size nested': ('size: [[1], 4]\nscenes: [{prompt: x}]', 1, 'not [1]'),
  'sampling': (
    'sampling: {steps: 4}\nscenes: [{prompt: x}]',
    1,
    "unknown story key 'sampling'",
  ),
  'fps zero': ('fps: 0\nscenes: [{prompt: x}]', 1, 'from 0.01 to 240'),
  'context zero': (
    'context_frames: 0\nscenes: [{prompt: x}]',
    1,
    'whole number from 1',
  ),
  'too many scenes': (
    'scenes: [' + '{prompt: x},' * 1001 + ']',
    1,
    'a list of 1001',
  ),
  'not yaml': ('scenes:\n- {prompt: "x}\n', 3, 'this is not YAML'),
  'tab': ('scenes:\n\t- prompt: x\n', 2, 'this is not YAML'),
  'two documents': ('a: 1\n---\nb: 2\n', 2, 'this is not YAML'),
  'python object': (
    'scenes:\n- prompt: !!python/object/apply:os.getcwd []\n',
    2,
    'must be text',
  ),
  'python name': (
    'scenes:\n- prompt: !!python/name:os.getcwd\n',
    2,
    'this is not YAML',
  ),
  'alias': (
    'scenes:\n- &a {prompt: x}\n- *a\n',
    3,
    'the alias *a is not allowed',
  ),
  'number of 6000 digits': (
    f'seed: 0x{"f" * 5000}\nscenes: [{{prompt: x}}]',
    1,
    'cannot be read',
  ),
  'bad date': ('seed: 2024-13-45\nscenes: [{prompt: x}]', 1, 'cannot be read'),
  'deep': ('[' * 20_000, 1, 'nested too deeply'),
  'zero byte': ('scenes:\n- prompt: "a\0b"\n', 2, 'not allowed'),
}


@pytest.mark.parametrize(('text', 'line', 'words'), BAD.values(), ids=BAD)
def test_bad_story_is_refused_with_its_line(tmp_path, text, line, words):
  path = tmp_path / 'story.yaml'
  path.write_text(text)
  with pytest.raises(ValueError) as caught:
    story_file.read_story(path)
  message = str(caught.value)
  assert message.startswith(f'{path}, line {line}: '), message
  assert words in message
  assert len(message) < 400


BAD_JSON = {
  'unknown key': (
    '{\n "scenes": [\n  {"prompt": "x"},\n  {"prompt": "y",\n'
    '   "sead": 3}\n ]\n}',
    5,
    'did you mean seed?',
  ),
  'wrong value': (
    '{"fps": 8,\n"scenes": [{"prompt":\n"x", "frames":\n "9"}]}',
    4,
    "not '9'",
  ),
  'key twice': ('{"fps": 8,\n"fps": 8, "scenes": []}', 2, 'appears twice'),
  'empty': ('', 1, 'this is not JSON'),
  'trailing comma': ('{"fps": 8,\n}', 2, 'this is not JSON'),
  'nan': ('{\n"fps": NaN, "scenes": [{"prompt": "x"}]}', 2, 'not nan'),
  'empty list': ('{"scenes":\n[ ]}', 2, '1 to 1000 scenes, not []'),
  'null': ('{"scenes": [{"prompt": "x",\n"frames": null}]}', 2, 'is missing'),
  'empty group': ('{"scenes":\n[{},{"prompt":"x"}]}', 2, 'has no prompt'),
  'deep': ('[' * 50_000 + ']' * 50_000, 1, 'nested too deeply'),
  'long number': ('{"fps": ' + '9' * 5000 + '}', 1, 'a number'),
}


@pytest.mark.parametrize(
  ('text', 'line', 'words'), BAD_JSON.values(), ids=BAD_JSON
)
def test_bad_json_is_refused_with_its_line(tmp_path, text, line, words):
  path = tmp_path / 'story.json'
  path.write_text(text)
  with pytest.raises(ValueError) as caught:
    story_file.read_story(path)
  message = str(caught.value)
  assert message.startswith(f'{path}, line {line}: '), message
  assert words in message
  assert len(message) < 400


def test_missing_file_says_what_to_do(tmp_path):
  with pytest.raises(FileNotFoundError, match='--prompt'):
    story_file.read_story(tmp_path / 'none.yaml')


def test_other_encodings_are_refused(tmp_path):
  path = tmp_path / 'story.yaml'
  path.write_bytes('scenes:\n- prompt: größer\n'.encode('latin-1'))
  with pytest.raises(ValueError, match='line 2: this is not UTF-8'):
    story_file.read_story(path)


def test_byte_order_mark_is_ignored(tmp_path):
  path = tmp_path / 'story.yaml'
  path.write_text(EXAMPLE, 'utf-8-sig')
  assert story_file.read_story(path) == parse_story(EXAMPLE)


def test_huge_file_is_not_read(tmp_path):
  path = tmp_path / 'story.yaml'
  path.write_text('#' * 1_000_001)
  with pytest.raises(ValueError, match='at most 1000000'):
    story_file.read_story(path)


def test_scene_made_in_code_is_validated():
  with pytest.raises(pydantic.ValidationError, match='frames'):
    Scene(prompt='x', frames=0)
  with pytest.raises(pydantic.ValidationError, match='prompt is empty'):
    Scene(prompt='')
  with pytest.raises(pydantic.ValidationError, match='scenes'):
    Story(scenes=())
  with pytest.raises(pydantic.ValidationError, match='fps'):
    Story(scenes=(Scene(prompt='x'),), fps=-1.0)


def test_story_is_taken_from_prompts_a_file_or_a_story(tmp_path):
  path = tmp_path / 'story.yaml'
  path.write_text('scenes: [{prompt: it falls}, {prompt: it rises}]')
  story = story_file.as_story(['it  falls', 'it rises'])
  assert [scene.prompt for scene in story.scenes] == ['it falls', 'it rises']
  assert story_file.as_story(path) == story
  assert story_file.as_story(str(path)) == story
  assert story_file.as_story(story) is story


@pytest.mark.parametrize(
  ('prompts', 'words'),
  [([], '1 to 1000 scenes'), (['x', ''], 'is empty')],
)
def test_bad_prompts_are_refused_in_a_sentence(prompts, words):
  with pytest.raises(UserError, match=words):
    story_file.as_story(prompts)


@pytest.mark.parametrize(
  ('line', 'words'),
  [
    ('seed: 010', 'YAML reads 010 as 8'),
    ('seed: -0_17', 'YAML reads -0_17 as -15'),
    ('seed: 0b101', 'YAML reads 0b101 as 5'),
    ('seed: 1:30', 'YAML reads 1:30 as 90'),
    ('fps: 1:30.5', 'YAML reads 1:30.5 as 90.5'),
    ('size: [064, 64]', 'YAML reads 064 as 52'),
  ],
)
def test_numbers_that_yaml_reads_differently_are_refused(line, words):
  with pytest.raises(UserError) as caught:
    parse_story(f'scenes: [{{prompt: x}}]\n{line}\n')
  assert str(caught.value).startswith(f'line 2: {words}')


def test_prompt_that_a_comment_cuts_is_refused():
  for text in (
    'scenes:\n- prompt: a red circle #1 on grass\n',
    'scenes:\n- {prompt: a red circle # on grass\n  }\n',
    'scenes:\n- prompt: a red\n    circle  # on grass\n',
  ):
    with pytest.raises(UserError, match='put the text in quotation marks'):
      parse_story(text)
  story = parse_story(
    '# a story\nseed: 0  # first\nscenes:  # all\n'
    '- prompt: "a #1 circle"  # quoted\n- prompt: a#1 # \n'.replace(
      ' # \n', '\n'
    )
  )
  assert [scene.prompt for scene in story.scenes] == ['a #1 circle', 'a#1']


def test_shipped_schema_is_that_of_the_classes():
  """`phenaki story --schema` writes it anew after an intended change."""
  assert story_file.read_schema() == story_file.make_schema()


FULL = {
  'size': [16, 24],
  'fps': 8,
  'seed': 1,
  'style': 'drawn with a pencil',
  'context_frames': 5,
  'candidates': 2,
  'choose': 'critic',
  'scenes': [
    {
      'prompt': 'a red circle',
      'frames': 9,
      'start': 'a.png',
      'order': 'halton',
    },
    {
      'prompt': 'it turns blue',
      'seconds': 0.5,
      'cut': True,
      'context_frames': 3,
      'guidance': 2.5,
      'guidance_schedule': 'linear',
      'negative': 'a square',
      'steps': 4,
      'temperature': 0,
      'seed': 4,
      'candidates': 1,
    },
  ],
}


def _changed(**values):
  scene = {k: v for k, v in values.items() if k not in FULL}
  story = {k: v for k, v in values.items() if k in FULL}
  first, *others = FULL['scenes']
  return {**FULL, **story, 'scenes': [{**first, **scene}, *others]}


@pytest.mark.parametrize(
  ('values', 'is_valid'),
  [
    ({}, True),
    ({'frames': 0}, False),
    ({'order': 'best'}, False),
    ({'guidence': 2}, False),
    ({'size': [16]}, False),
    ({'choose': 'any'}, False),
    ({'negative': 3}, False),
    ({'style': None}, False),
    ({'candidates': 65}, False),
  ],
)
def test_schema_and_reader_agree(values, is_valid):
  schema = json.loads(story_file.read_schema())
  story = _changed(**values)
  validator = jsonschema.Draft202012Validator(schema)
  assert validator.is_valid(story) == is_valid
  if is_valid:
    story_file.parse_story(json.dumps(story), is_json=True)
  else:
    with pytest.raises(UserError):
      story_file.parse_story(json.dumps(story), is_json=True)


def test_a_start_is_found_beside_its_file(tmp_path):
  (tmp_path / 'a.yaml').write_text('scenes: [{prompt: x, start: b.png}]')
  story = story_file.read_story(tmp_path / 'a.yaml')
  assert story.scenes[0].start == str(tmp_path / 'b.png')
  (tmp_path / 'a.yaml').write_text('scenes: [{prompt: x, start: gs://b/c.png}]')
  with pytest.raises(UserError, match='a.yaml: start is gs://b/c.png, but'):
    story_file.read_story(tmp_path / 'a.yaml')
