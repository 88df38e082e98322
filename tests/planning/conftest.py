"""Let the tests of planning import the counter beside them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
