"""The command line: `python -m nearfield`, as `nearfield` in a shell."""

import sys

from nearfield._cli import main

if __name__ == "__main__":
    sys.exit(main())
