"""Entry point of `python -m mdnrnn`."""

import sys

from mdnrnn.cli import main

sys.exit(main())
