"""Let the tests of training import the toy model beside them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
