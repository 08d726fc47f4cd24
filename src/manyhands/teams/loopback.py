"""Keeping other machines away from a job on this one.

The mpiexec of Open MPI 5 listens on all network interfaces for further daemons of its own, which a job on one machine
does not have, and has no option against that. So its open sockets are duplicated here, and made to accept nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct

_PIDFD_GETFD = 438
_SO_ATTACH_FILTER = 26
_EVERYWHERE = ("0.0.0.0", "::")


def allow_loopback_only(pid: int) -> int:
    """Let a process accept no connections on sockets that listen on all interfaces; return how many there were.

    It is one that this process has started. Where the system does not allow that (Linux before 5.7, some containers),
    or has nothing like it, nothing happens.
    """
    found = 0
    with contextlib.suppress(OSError, AttributeError):
        process = os.pidfd_open(pid)
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names are wanted
                with contextlib.suppress(OSError):
                    found += _close_one(process, f"/proc/{pid}/fd/{name}", int(name))
        finally:
            os.close(process)
    return found


def _close_one(process: int, path: str, number: int) -> bool:
    """Make an open file of another process accept nothing, if it is such a socket; return whether it was."""
    if not os.readlink(path).startswith("socket:"):  # noqa: PTH115 - it is no path
        return False
    copy = ctypes.CDLL(None).syscall(_PIDFD_GETFD, process, number, 0)
    if copy < 0:
        return False
    with socket.socket(fileno=copy) as listener:
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or not _is_everywhere(listener):
            return False
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        nothing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # one instruction: return 0 bytes
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(nothing)))
    return True


def _is_everywhere(listener: socket.socket) -> bool:
    return listener.family in (socket.AF_INET, socket.AF_INET6) and listener.getsockname()[0] in _EVERYWHERE
