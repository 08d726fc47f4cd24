"""The command line. One file per command; nothing heavy is imported before a command needs it.

This file imports only what it needs to listen to signals: Ctrl-C may come in the first moment.
"""

from __future__ import annotations

import os

try:
    from manyhands.runtime import signals
except KeyboardInterrupt:
    raise SystemExit(130) from None

TYPE_CHECKING = False  # without importing typing for it
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status.

    0: done. 1: data, files or training failed. 2: the command line cannot work. 130: interrupted by Ctrl-C, 143: by
    SIGTERM, 129: by the end of the terminal (SIGHUP).
    """
    with signals.heeded(to_the_end=arguments is None):
        try:
            with signals.insisted():
                from manyhands.cli import program
            status = program.run(arguments)
            if status not in signals.STATUSES:
                signals.check()
            return signals.settle(status)
        except KeyboardInterrupt as error:
            return _interrupted(error)


def _interrupted(error: KeyboardInterrupt) -> int:
    """Say that this program was ended before it had understood what to do; return the exit status."""
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
        signals.say(f"manyhands: {str(error) or 'interrupted'}")
    return signals.settle(signals.status_of(error))
