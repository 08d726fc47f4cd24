"""A server from its port to its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator

from uvicorn import Config
from uvicorn import Server as Uvicorn

from manyhands.core.errors import ManyhandsError
from manyhands.core.parameters import parameter
from manyhands.web.app import Server
from manyhands.web.settings import ServerSettings, address_of

_TICK_SECONDS = 0.25
_MOST_CONNECTIONS = 256
_END_SECONDS = 1


def serve(settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until the process is asked to end (KeyboardInterrupt).

    Parameters
    ----------
    settings
        What the operator has decided.
    ready
        Called with the page's address, when it can be opened.

    Raises
    ------
    ManyhandsError
        If the port cannot be had.
    OutputError
        If the folder for corrections cannot be used.
    """
    server = Server(settings)
    with _bound(settings) as listener:
        config = Config(
            server.app,
            lifespan="on",
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        _run(Uvicorn(config), server, listener, lambda: ready(url_of(settings, listener)))


def _run(uvicorn: Uvicorn, server: Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Let the server work in a thread of its own: the main thread stays free for signals, which our program handles."""
    loops: list[asyncio.AbstractEventLoop] = []
    failures: list[BaseException] = []
    ended = (
        threading.Event()
    )  # not Thread.join: a Ctrl-C in it makes Python take a running thread for one that has ended

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        await uvicorn.serve([listener])

    def begin() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # raised again in the main thread
            failures.append(error)
        finally:
            ended.set()

    threading.Thread(target=begin, name="manyhands-web", daemon=True).start()
    try:
        while not ended.wait(0.01) and not uvicorn.started:
            pass
        if uvicorn.started:
            ready()
        while not ended.wait(_TICK_SECONDS):
            pass
    finally:
        _end(uvicorn, server, loops)
        ended.wait(_END_SECONDS + 2)
    if failures:
        raise failures[0]
    raise ManyhandsError("the server has ended; the lines above say why")


def _end(uvicorn: Uvicorn, server: Server, loops: list[asyncio.AbstractEventLoop]) -> None:
    """Ask the server to end; streams end first, because it waits for them."""
    uvicorn.should_exit = True
    for loop in loops:
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(server.log.close)


@contextlib.contextmanager
def _bound(settings: ServerSettings) -> Iterator[socket.socket]:
    """Yield a socket at the settings' address.

    Raises
    ------
    ManyhandsError
        If it cannot be had: somebody else has it, there is no such address, or it is reserved for the administrator.
    """
    address = address_of(settings.host)
    family = socket.AF_INET6 if address is not None and address.version == 6 else socket.AF_INET
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY); else each would wait 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
        try:
            listener.bind((settings.host.strip("[]"), settings.port))
            listener.listen()
        except OSError as error:
            raise ManyhandsError(_explained(settings, error)) from error
        yield listener


def _explained(settings: ServerSettings, error: OSError) -> str:
    """Return why a port cannot be had, and what to do."""
    port = parameter("port", settings.port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"{port} is in use by another program; end that one, or choose another, such as {settings.port % 65535 + 1}"
        )
    if error.errno == errno.EACCES:
        return f"{port} may be used by the administrator only; choose one from 1024 on"
    return f"{parameter('host', settings.host)} cannot be used: {error.strerror or error}"


def url_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Return the address of the page, by this computer's name if it listens at all of its addresses."""
    address = address_of(settings.host)
    host = socket.gethostname() if address is not None and address.is_unspecified else settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
