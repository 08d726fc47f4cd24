"""What stands before every request: whom the server answers, and what a browser may do with the answers.

A page of another site can send requests to a server on loopback, but not with that server's own name in ``Host`` and
``Origin``: DNS rebinding fails at the first, cross-site requests at the second.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manyhands.core.errors import ManyhandsError
from manyhands.web.settings import ServerSettings, address_of, is_loopback

_LOGGER = logging.getLogger("manyhands")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=()",
}
_METHODS = ("GET", "HEAD", "POST")


class Guard:
    """Middleware that refuses what does not come from the server's own page.

    Parameters
    ----------
    app
        What answers the others.
    settings
        By which names the server may be called.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._is_ours = app, host_check(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began: list[bool] = []

        async def noted(message: Message) -> None:
            began.append(True)
            await send(message)

        try:
            if refused := self._refusal(scope):
                await refused(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        except Exception as error:
            if began:  # too late to say it: the connection ends
                raise
            await error_response(error)(scope, receive, noted)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return what is said to a request that is not answered; None if it is."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return refusal(421, f"this server does not answer by the name {host[:100]!r}; see --allowed-host")
        if scope["method"] not in _METHODS:
            return refusal(405, "only GET and POST are answered")
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
            return refusal(403, "this comes from another site")
        if scope["method"] == "POST" and headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return refusal(403, "this does not come from the server's own page (see its header Origin)")
        return None


def host_check(settings: ServerSettings) -> Callable[[str], bool]:
    """Return the check of the header ``Host``.

    Names are what DNS rebinding plays with, so only this computer's own are answered. An address cannot be rebound:
    those of a network are answered if its computers may use the server.
    """
    own = {settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
    if settings.allow_network:
        own |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}

    def is_ours(header: str) -> bool:
        name = _without_port(header).lower()
        known = is_loopback(name) or name in own
        return known or (settings.allow_network and address_of(name) is not None)

    return is_ours


def _without_port(header: str) -> str:
    """Return the name in ``name:port``; of an IPv6 address, with its brackets."""
    name, colon, port = header.rpartition(":")
    return name if colon and port.isdigit() and (name.endswith("]") or ":" not in name) else header


def _with_headers(send: Send) -> Send:
    """Return a way to send that adds the headers of safety."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def refusal(status: int, text: str, **headers: str) -> Response:
    """Return an answer that says in one sentence why there is no other."""
    return JSONResponse({"error": text}, status, headers=headers)


def error_response(error: Exception) -> Response:
    """Return the answer to a request that has failed: a user's error in words, ours without its details."""
    if isinstance(error, HTTPException):
        return refusal(error.status_code, str(error.detail), **dict(error.headers or {}))
    if isinstance(error, ManyhandsError):
        return refusal(400, str(error))
    _LOGGER.error("a request has failed: %s: %s", type(error).__name__, error, exc_info=error)
    return refusal(500, "the server has failed to answer this; its terminal shows why")


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises
    ------
    HTTPException
        If it is none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body is no JSON object")
    return found
