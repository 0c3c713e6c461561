"""`python -m xinqiao.cli`: the command line without its script."""

import sys

from xinqiao.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
