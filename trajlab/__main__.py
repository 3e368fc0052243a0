"""``python -m trajlab`` is the command line."""

import sys

from trajlab.cli.main import main

sys.exit(main())
