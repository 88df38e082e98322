import json

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.cli.main import main
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.stories.outputs import StoryFiles

STORY = """\
seed: 3
scenes:
  - {prompt: "a red circle moves left", frames: 9}
  - {prompt: "it turns green", frames: 4}
  - {prompt: "a blue square", frames: 5}
"""


def _generate(folder, bundle, *flags):
  story = folder / 'story.yaml'
  if not story.exists():
    story.write_text(STORY)
  out = folder / 'film.mp4'
  code = main(
    ['story', str(story), '--model', str(bundle), '--out', str(out), *flags]
  )
  assert code == 0
  return json.loads(out.with_suffix('.json').read_text())


def _kept(folder):
  frames = {}
  for path in (folder / 'film.scenes').glob('*.npy'):
    frames[len(np.load(path))] = np.load(path)
  return frames


def test_story_is_generated_again_and_rolled_again(tiny_bundle, tmp_path):
  first = _generate(tmp_path, tiny_bundle)
  names = ['film.gif', 'film.json', 'film.mp4', 'film.png', 'film.scenes']
  assert sorted(p.name for p in tmp_path.iterdir()) == [*names, 'story.yaml']
  assert first['notice'] == 'AI-generated'
  assert len(first['model']['fingerprint']) == 64
  assert [s['prompt'] for s in first['story']['scenes']] == [
    'a red circle moves left',
    'it turns green',
    'a blue square',
  ]
  assert first['story']['scenes'][1]['steps'] == 2
  film = (tmp_path / 'film.mp4').read_bytes()
  scenes = _kept(tmp_path)
  assert sorted(scenes) == [4, 5, 9]

  # Without kept scenes, every file is the same.
  other = tmp_path / 'other'
  other.mkdir()
  assert _generate(other, tiny_bundle) == first
  assert (other / 'film.mp4').read_bytes() == film

  rolled = _generate(tmp_path, tiny_bundle, '--reroll', '3')
  after = _kept(tmp_path)
  np.testing.assert_array_equal(after[9], scenes[9])
  np.testing.assert_array_equal(after[4], scenes[4])
  assert (after[5] != scenes[5]).any()
  seeds = [s['seed'] for s in rolled['story']['scenes']]
  assert seeds[:2] == [3, 3] and seeds[2] != 3

  # A second reroll of scene 3 gives a third seed, which a reroll of scene 2
  # keeps.
  again = _generate(tmp_path, tiny_bundle, '--reroll', '3')
  third = again['story']['scenes'][2]['seed']
  assert third not in (3, seeds[2])
  second = _generate(tmp_path, tiny_bundle, '--reroll', '2')
  assert second['story']['scenes'][2]['seed'] == third
  assert second['story']['scenes'][1]['seed'] != 3
  assert _generate(tmp_path, tiny_bundle) == first


def test_tokens_are_carried_on(tiny_bundle, tmp_path):
  (tmp_path / 'story.yaml').write_text(STORY.replace('frames: 5', 'frames: 4'))
  found = _generate(tmp_path, tiny_bundle, '--context', 'tokens')
  assert found['story']['context'] == 'tokens'
  assert [s['frames'] for s in found['story']['scenes']] == [9, 4, 4]
  assert not _kept(tmp_path)


def test_prompts_and_options_make_a_story(tiny_bundle, tmp_path):
  out = tmp_path / 'new' / 'film.mp4'
  flags = [
    '--seed',
    '5',
    '--frames',
    '3',
    '--guidance',
    '1.5',
    '--temperature',
    '0',
    *('--style', 'on grass', '--negative', 'a red circle'),
    *('--order', 'halton', '--candidates', '2', '--choose', 'oracle'),
  ]
  assert (
    main(
      [
        'story',
        '--prompt',
        'a blue square',
        '--prompt',
        'it turns green',
        '--model',
        str(tiny_bundle),
        '--out',
        str(out),
        *flags,
      ]
    )
    == 0
  )
  story = json.loads(out.with_suffix('.json').read_text())['story']
  assert story['frames'] == 6 and story['choose'] == 'oracle'
  prompts = [scene['prompt'] for scene in story['scenes']]
  assert prompts == ['a blue square, on grass', 'it turns green, on grass']
  for scene in story['scenes']:
    assert scene['seed'] == 5 and scene['frames'] == 3
    assert scene['guidance'] == 1.5 and scene['temperature'] == 0
    assert scene['negative'] == 'a red circle' and scene['order'] == 'halton'
    assert scene['candidates'] == 2


def test_options_do_not_replace_values_of_a_scene(tiny_bundle, tmp_path):
  (tmp_path / 'story.yaml').write_text(
    'scenes:\n'
    '  - {prompt: x, guidance: 2, frames: 4}\n'
    '  - {prompt: y, seconds: 0.5}\n'
  )
  story = _generate(tmp_path, tiny_bundle, '--guidance', '9', '--frames', '7')
  scenes = story['story']['scenes']
  assert [scene['guidance'] for scene in scenes] == [2, 9]
  assert [scene['frames'] for scene in scenes] == [4, 4]


def test_a_story_sees_its_source(ported_bundle, tiny_bundle, tmp_path, capsys):
  picture, out = tmp_path / 'first.png', tmp_path / 'film.mp4'
  Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).save(picture)
  call = ['story', '--prompt', 'a blue square', '--out', str(out)]
  call += ['--frames', '2', '--source', str(picture), '--model']
  assert main([*call, str(ported_bundle)]) == 0
  source = json.loads(out.with_suffix('.json').read_text())['model']['source']
  assert len(source) == 64
  assert main([*call, str(tiny_bundle)]) == 2
  assert 'the model reads no source frame' in capsys.readouterr().err


def test_a_story_sees_pictures_of_a_character(
  ported_bundle, tiny_bundle, tmp_path, capsys
):
  call, out = ['story', '--prompt', 'a blue square'], tmp_path / 'film.mp4'
  call += ['--frames', '2', '--out', str(out)]
  for value in (9, 99):
    picture = tmp_path / f'{value}.png'
    Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(picture)
    call += ['--character', str(picture)]
  assert main([*call, '--model', str(ported_bundle)]) == 0
  record = json.loads(out.with_suffix('.json').read_text())
  assert len(set(record['model']['character'])) == 2
  more = call[-2:] * 7
  for options, words in (
    ([*more, '--model', str(ported_bundle)], 'there are 9 pictures of a char'),
    (['--model', str(tiny_bundle)], 'the model reads no pictures of a char'),
  ):
    assert main([*call, *options]) == 2
    assert words in capsys.readouterr().err


BAD = {
  'no story': ([], 'give a story file or one --prompt'),
  'both': (['story.yaml', '--prompt', 'x'], 'not both'),
  'no such file': (['none.yaml'], 'there is no story file none.yaml'),
  'bad flag': (
    ['story.yaml', '--guidance', '-1'],
    'guidance must be a number from 0',
  ),
  'bad seed': (['story.yaml', '--seed', '-1'], 'seed must be a whole number'),
  'bad frames': (['--prompt', 'x', '--frames', '0'], 'frames must be'),
  'empty prompt': (['--prompt', ''], 'prompt is empty'),
  'no such scene': (['story.yaml', '--reroll', '4'], 'scenes 1 to 3'),
  'bad name': (['story.yaml', '--out', 'film.avi'], 'must end in .mp4'),
  'over the story': (['film.json'], 'which is read; choose another name'),
  'bad model': (['story.yaml', '--model', 'none'], 'there is no folder none'),
  'strict': (
    ['--prompt', 'a red dragon', '--strict'],
    'training captions contains "dragon"',
  ),
  'strict size': (['wide.yaml', '--strict'], 'trained on 16x16 only'),
  'bucket': (['story.yaml', '--out', 'gs://b/a.mp4'], 'on a local disk'),
  'remote story': (['gs://b/a.yaml'], 'the story file is gs://b/a.yaml, but'),
  'tokenizer': (['story.yaml', '--tokenizer', '.'], 'leave --tokenizer out'),
  'no model': (['story.yaml', '--model', '.'], 'is not a bundle'),
}


@pytest.mark.parametrize(('flags', 'words'), BAD.values(), ids=BAD)
def test_bad_call_ends_in_a_sentence(
  tiny_bundle, tmp_path, monkeypatch, capsys, flags, words
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'story.yaml').write_text(STORY)
  (tmp_path / 'wide.yaml').write_text(
    'size: [16, 32]\nscenes: [{prompt: a red circle}]\n'
  )
  (tmp_path / 'film.json').write_text('{"scenes": [{"prompt": "x"}]}')
  (tmp_path / 'film.mp4').write_bytes(b'precious')
  before = sorted(p.name for p in tmp_path.iterdir())
  defaults = ['--out', 'film.mp4', '--model', str(tiny_bundle)]
  assert main(['story', *defaults, *flags]) == 2
  error = capsys.readouterr().err
  assert words in error
  assert 'Traceback' not in error
  assert (tmp_path / 'film.mp4').read_bytes() == b'precious'
  assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_interrupted_story_is_continued(tiny_bundle, tmp_path, monkeypatch):
  unbroken = tmp_path / 'unbroken'
  broken = tmp_path / 'broken'
  unbroken.mkdir()
  broken.mkdir()
  whole = _generate(unbroken, tiny_bundle)

  write = StoryFiles.write

  def interrupted(self, chunk):
    if chunk.scene == 2:
      raise KeyboardInterrupt
    write(self, chunk)

  (broken / 'story.yaml').write_text(STORY)
  with monkeypatch.context() as patch:
    patch.setattr(StoryFiles, 'write', interrupted)
    code = main(
      [
        'story',
        str(broken / 'story.yaml'),
        '--model',
        str(tiny_bundle),
        '--out',
        str(broken / 'film.mp4'),
      ]
    )
  assert code == 130
  assert not (broken / 'film.mp4').exists()
  assert sorted(_kept(broken)) == [4, 9]
  assert _generate(broken, tiny_bundle) == whole
  for name in ('film.mp4', 'film.gif', 'film.png'):
    assert (broken / name).read_bytes() == (unbroken / name).read_bytes()


def test_unknown_words_are_said_and_recorded(
  tiny_bundle, tmp_path, caplog, monkeypatch
):
  monkeypatch.setenv('HOME', str(tmp_path))
  prompts = ['--prompt', 'a red circle', '--prompt', 'it sees a dragon']
  options = ['--model', str(tiny_bundle), '--out=~/film.mp4', '--frames', '1']
  assert main(['story', *prompts, *options]) == 0
  record = json.loads((tmp_path / 'film.json').read_text())
  (remark,) = record['remarks']
  assert remark['scene'] == 2 and set(remark['unknown']) == {'sees', 'dragon'}
  assert remark['sentence'] in caplog.text


FULL = """\
style: on grass
candidates: 2
scenes:
  - {prompt: "a red circle", frames: 4, start: red.png, order: halton}
  - {prompt: "it turns green", frames: 5, negative: "a blue square"}
"""


def test_whole_story_file_is_shown_first_and_then_made(
  tiny_bundle, tmp_path, capsys
):
  red = np.zeros((20, 40, 3), np.uint8)
  red[..., 0] = 200
  Image.fromarray(red).save(tmp_path / 'red.png')
  (tmp_path / 'story.yaml').write_text(FULL)
  out = tmp_path / 'film.mp4'
  call = ['story', str(tmp_path / 'story.yaml'), '--model', str(tiny_bundle)]
  call += ['--out', str(out), '--guidance-schedule', 'linear', '--steps', '2']
  call += ['--fps', '4']
  place = call.index('--out')
  assert main([*call[:place], *call[place + 2 :], '--dry-run']) == 0
  alone = capsys.readouterr().out
  assert not list(tmp_path.glob('*.timeline.png'))
  assert main([*call, '--dry-run']) == 0
  text = capsys.readouterr().out
  assert text.startswith(alone.rstrip('\n'))
  assert f'frames 0-3 see the last 1 of {tmp_path}/red.png' in text
  assert 'best of 2 by likelihood' in text
  assert sorted(path.suffix for path in tmp_path.iterdir()) == [
    *('.png', '.png', '.yaml')
  ]
  assert read_provenance(tmp_path / 'film.timeline.png')['story']['frames'] == 9
  assert main(call) == 0
  story = json.loads(out.with_suffix('.json').read_text())['story']
  assert story['fps'] == 4
  first, second = story['scenes']
  assert first['prompt'] == 'a red circle, on grass'
  assert first['order'] == 'halton' and second['order'] == 'confidence'
  assert second['negative'] == 'a blue square'
  assert first['guidance_schedule'] == 'linear'
  assert first['starts_from'] == f'{tmp_path}/red.png'
  # Another picture gives another film.
  frames = [json.loads(out.with_suffix('.json').read_text())['frames_sha256']]
  Image.fromarray(255 - red).save(tmp_path / 'red.png')
  assert main(call) == 0
  frames.append(
    json.loads(out.with_suffix('.json').read_text())['frames_sha256']
  )
  assert frames[0] != frames[1]


def test_schema_is_printed(capsys):
  assert main(['story', '--schema']) == 0
  assert json.loads(capsys.readouterr().out)['title'] == 'Story'
