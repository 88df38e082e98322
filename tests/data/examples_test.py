from phenaki_jax.data import build, manifest, schema
from phenaki_jax.data.examples import pick
from phenaki_jax.data.sources import storyworld


def test_examples_are_picked_without_repeats(tmp_path):
  source = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=4, num_images=3
  )
  build.build([lambda indices: source], tmp_path / 'm')
  content = manifest.Manifest(tmp_path / 'm')
  view = schema.View(size=(16, 16), frames=7, fps=8.0)
  for kind, count in (('clip', 4), ('image', 3)):
    picked = pick(content, kind, count=9, view=view)
    assert len(picked) == count
    assert len({example.pixels.tobytes() for example in picked}) == count
