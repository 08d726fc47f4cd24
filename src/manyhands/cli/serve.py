"""``manyhands serve``: a page for drawing, photographs and trainings that are watched live."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from manyhands.cli import options as shared
from manyhands.core.errors import SettingsError
from manyhands.core.extras import require
from manyhands.runtime.terminal import message

EXAMPLES = (
    "manyhands serve",
    "manyhands serve --port 8080 --save-corrections corrected",
    "manyhands serve --host 0.0.0.0 --allow-network",
)
_PACKAGES = ("starlette", "uvicorn", "PIL")
_DEFAULT_PORT, _DEFAULT_HOST, _LAST_PORT = 8000, "127.0.0.1", 65535


def register(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser = commands.add_parser(
        "serve",
        examples=EXAMPLES,
        help="serve a page: draw and photograph characters, watch trainings",
        description="Serve one page, for this computer's browsers: draw a character and see what the network thinks, "
        "let a photograph be read, train with several workers and watch it live. It ends with Ctrl-C.",
    )
    place = parser.add_argument_group("server")
    place.add_argument(
        "--port", type=shared.reader(_port), default=_DEFAULT_PORT, metavar="P", help="0: any free one (default: 8000)"
    )
    place.add_argument("--host", default=_DEFAULT_HOST, metavar="A", help="address to listen at (default: 127.0.0.1)")
    place.add_argument(
        "--allow-network", action="store_true", help="let other computers use it, too; --host says by which address"
    )
    place.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="with --allow-network: a name, besides addresses, by which browsers call this computer; may be repeated",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME|PATH",
        help="offer these data for training, too (see manyhands train --help); may be repeated",
    )
    data.add_argument(
        "--save-corrections",
        metavar="DIR",
        help="let users store characters that they have corrected, as DIR/CLASS/*.png (default: nothing is stored)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    for package in _PACKAGES:
        require(package)
    from manyhands.web.serving import serve
    from manyhands.web.settings import ServerSettings

    settings = ServerSettings(
        host=options.host,
        port=options.port,
        allow_network=options.allow_network,
        allowed_hosts=tuple(options.allowed_host),
        save_corrections=options.save_corrections,
        data=tuple(options.data),
    )
    if settings.allow_network:
        warning = "every computer that reaches this one can use this page, and its cores; there is no password"
        print(message(f"manyhands serve: {warning}"), file=sys.stderr, flush=True)
    serve(settings, lambda url: print(f"page      {url}\n          Ctrl-C ends the server", flush=True))
    return 0


def _port(text: str) -> int:
    """Return the port that a text names.

    Raises
    ------
    SettingsError
        If it names none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _LAST_PORT):
        raise SettingsError(f"a port is a number from 0 to {_LAST_PORT}, not {text!r}")
    return int(text)
