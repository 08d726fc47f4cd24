"""``python -m manyhands``."""

import os
import sys


def _forget_present_folder() -> None:
    """Take the folder, in which somebody happens to be, off the path: a numpy.py in it is not ours to run."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib may be theirs
    if not sys.flags.safe_path and sys.path[0] and os.path.realpath(sys.path[0]) != os.path.realpath(home):
        del sys.path[0]


if __name__ == "__main__":
    _forget_present_folder()
    from manyhands.cli import main

    sys.exit(main())
