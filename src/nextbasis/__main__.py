"""`python -m nextbasis` is the command line `nextbasis`."""

import sys

from nextbasis.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
