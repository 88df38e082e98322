"""Run the command line as `python -m phenaki_jax COMMAND`."""

import sys

from phenaki_jax.cli.main import main

if __name__ == '__main__':
  sys.exit(main())
