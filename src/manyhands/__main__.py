"""``python -m manyhands``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and not __file__.startswith(sys.path[0]):
        del sys.path[0]  # a numpy.py in the folder in which somebody happens to be is not ours to run
    from manyhands.cli import main

    sys.exit(main())
