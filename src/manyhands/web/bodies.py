"""Bodies of requests, read to a limit: neither a header nor chunks without an end can fill the memory."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from manyhands.core.words import size

_SECONDS = 60.0
"""How long a body may take; a slow sender would otherwise hold its connection for ever."""


async def read_body(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Parameters
    ----------
    request
        Whose body has not been read.
    most
        The largest number of bytes.

    Raises
    ------
    HTTPException
        413 if there are more, 400 if none or the length is no number, 408 if they do not come.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit():
        raise HTTPException(400, "the header Content-Length is no number")
    if int(announced) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(_SECONDS):
            body = await _gathered(request, most)
    except TimeoutError:
        raise HTTPException(408, "the body has not come in time") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body has ended early") from None
    if not body:
        raise HTTPException(400, "the body is empty")
    return body


async def _gathered(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> HTTPException:
    # The rest of the body is not read, so no further request can come on this connection.
    return HTTPException(413, f"this is too large: at most {size(most)} are taken", {"Connection": "close"})
