"""The phrases of StoryWorld: how captions word each value of each fact."""

import functools

from phenaki_jax.storyworld import facts as facts_lib

# The first phrase of each tuple is the canonical one. Shapes, colours and sizes
# are worded by their own names.
MOTION_VERBS = {
  'left': ('moves left', 'is moving to the left', 'goes left'),
  'right': ('moves right', 'is moving to the right', 'goes right'),
  'up': ('moves up', 'is moving up', 'goes up', 'rises'),
  'down': ('moves down', 'is moving down', 'goes down', 'sinks'),
  'still': ('stays still', 'does not move', 'is standing still'),
  'bounce': ('bounces', 'is bouncing', 'bounces up and down'),
  'spin': ('spins', 'is spinning', 'spins around'),
  'grow': ('grows', 'is growing', 'gets bigger'),
  'shrink': ('shrinks', 'is shrinking', 'gets smaller'),
}
MOTION_PARTICIPLES = {
  'left': 'moving left',
  'right': 'moving right',
  'up': 'moving up',
  'down': 'moving down',
  'still': 'standing still',
  'bounce': 'bouncing',
  'spin': 'spinning',
  'grow': 'growing',
  'shrink': 'shrinking',
}
PLACE_PHRASES = {
  'grass': ('on grass', 'on the grass', 'in a meadow'),
  'sand': ('on sand', 'on the sand', 'on a beach'),
  'sea': ('at sea', 'on the sea', 'on the water'),
  'night': ('at night', 'in the night', 'under the stars'),
  'brick': ('on bricks', 'by a brick wall', 'on a brick wall'),
  'road': ('on the road', 'on a road', 'on a street'),
  'snow': ('on snow', 'on the snow', 'in the snow'),
}
# What stands before the object in a full caption; nothing for the plain style.
STYLE_PREFIXES = {
  'plain': ('',),
  'outline': ('the outline of ', 'an outline of '),
  'pencil': ('a pencil drawing of ', 'a pencil sketch of '),
}
# What a continuation says when the style changes.
STYLE_CHANGES = {
  'plain': 'is plain',
  'outline': 'becomes an outline',
  'pencil': 'becomes a pencil drawing',
}
BECOMES = {
  'colour': ('turns {}', 'becomes {}'),
  'shape': ('becomes {}', 'turns into {}'),
  'size': ('becomes {}', 'is now {}'),
}
STOPS = ('stops', 'stops moving')
CONTINUERS = ('goes on {}', 'keeps {}')

# Words that are understood in prompts but never written in captions.
_OTHER_SHAPES = {
  'circle': ('disc', 'disk', 'ball', 'circles'),
  'square': ('box', 'squares'),
  'triangle': ('triangles',),
  'cross': ('plus',),
  'heart': ('hearts',),
}
_OTHER_COLOURS = {'purple': ('violet',), 'cyan': ('turquoise',)}
_OTHER_SIZES = {'small': ('little', 'tiny'), 'big': ('large', 'huge')}
_OTHER_MOTIONS = {
  'left': ('left', 'leftwards'),
  'right': ('right', 'rightwards'),
  'up': ('up', 'upwards', 'rising', 'climbs'),
  'down': ('down', 'downwards', 'falls', 'falling', 'sinking'),
  'still': ('still', 'not moving', 'stands', 'rests', 'waits'),
  'bounce': ('bouncing up and down', 'jumps', 'jumping', 'bounce'),
  'spin': (
    *('rotates', 'rotating', 'turns around', 'turning around'),
    *('spinning around', 'spin'),
  ),
  'grow': ('getting bigger', 'gets larger', 'grow'),
  'shrink': ('getting smaller', 'shrink'),
}
_OTHER_PLACES = {
  'grass': ('grass', 'meadow', 'lawn'),
  'sand': ('sand', 'beach', 'desert'),
  'sea': ('sea', 'water', 'ocean', 'waves'),
  'night': ('night', 'night sky', 'stars', 'dark'),
  'brick': ('bricks', 'brick', 'wall', 'brick wall'),
  'road': ('road', 'street'),
  'snow': ('snow', 'winter'),
}
_OTHER_STYLES = {
  'plain': ('plain', 'filled'),
  'outline': ('outline', 'outlined'),
  'pencil': ('pencil', 'sketch', 'drawing'),
}


@functools.cache
def lexicon() -> dict[tuple[str, ...], tuple[str, str]]:
  """Map every phrase, as a tuple of words, to the (fact, value) it names."""
  entries: dict[tuple[str, ...], tuple[str, str]] = {}

  def add(fact, value, phrases):
    for phrase in phrases:
      entries[tuple(phrase.split())] = (fact, value)

  for colour in facts_lib.COLOURS:
    add('colour', colour, (colour, *_OTHER_COLOURS.get(colour, ())))
  for size in facts_lib.SIZES:
    add('size', size, (size, *_OTHER_SIZES[size]))
  for shape in facts_lib.SHAPES:
    add('shape', shape, (shape, *_OTHER_SHAPES.get(shape, ())))
  for motion, verbs in MOTION_VERBS.items():
    participle = (MOTION_PARTICIPLES[motion],)
    add('motion', motion, verbs + participle + _OTHER_MOTIONS[motion])
  add('motion', 'still', STOPS)
  for place, wheres in PLACE_PHRASES.items():
    add('place', place, wheres + _OTHER_PLACES[place])
  for style, prefixes in STYLE_PREFIXES.items():
    add('style', style, (prefix for prefix in prefixes if prefix))
    add('style', style, (*_OTHER_STYLES[style], STYLE_CHANGES[style]))
  return entries
