"""``python tests/bench``: the same as ``run.py``."""

from run import main

if __name__ == "__main__":
    main()
