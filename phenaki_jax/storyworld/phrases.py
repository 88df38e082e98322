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
# The text before the object in a full caption; empty for the plain style.
STYLE_PREFIXES = {
  'plain': ('',),
  'outline': ('the outline of ', 'an outline of '),
  'pencil': ('a pencil drawing of ', 'a pencil sketch of '),
}
# The words of a continuation in which the style changes.
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
_OTHERS = {
  'circle': ('disc', 'disk', 'ball', 'circles'),
  'square': ('box', 'squares'),
  'triangle': ('triangles',),
  'cross': ('plus',),
  'heart': ('hearts',),
  'purple': ('violet',),
  'cyan': ('turquoise',),
  'small': ('little', 'tiny'),
  'big': ('large', 'huge'),
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
  'grass': ('grass', 'meadow', 'lawn'),
  'sand': ('sand', 'beach', 'desert'),
  'sea': ('sea', 'water', 'ocean', 'waves'),
  'night': ('night', 'night sky', 'stars', 'dark'),
  'brick': ('bricks', 'brick', 'wall', 'brick wall'),
  'road': ('road', 'street'),
  'snow': ('snow', 'winter'),
  'plain': ('plain', 'filled'),
  'outline': ('outline', 'outlined'),
  'pencil': ('pencil', 'sketch', 'drawing'),
}


@functools.cache
def lexicon() -> dict[tuple[str, ...], tuple[str, str]]:
  """Map every phrase, as a tuple of words, to the (fact, value) it names."""
  # No two facts have a value of the same name.
  names = facts_lib.SHAPES + facts_lib.COLOURS + facts_lib.SIZES
  written: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in names},
    **{k: (*v, MOTION_PARTICIPLES[k]) for k, v in MOTION_VERBS.items()},
    **PLACE_PHRASES,
    **{k: (*v, STYLE_CHANGES[k]) for k, v in STYLE_PREFIXES.items()},
  }
  written['still'] += STOPS
  return {
    tuple(phrase.split()): (fact, value)
    for fact, values in facts_lib.VALUES.items()
    for value in values
    for phrase in written[value] + _OTHERS.get(value, ())
    if phrase
  }
