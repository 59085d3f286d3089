"""`python -m nbdl` is the command `nbdl`."""

import sys

from nbdl.cli import main

if __name__ == "__main__":
    sys.exit(main())
