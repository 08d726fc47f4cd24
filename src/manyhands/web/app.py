"""The server's requests and answers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from manyhands.core.errors import ManyhandsError
from manyhands.core.version import __version__
from manyhands.web import drawings, photos
from manyhands.web.bodies import read_body
from manyhands.web.choices import data_choices, offered, read_request
from manyhands.web.corrections import Corrections
from manyhands.web.desk import Desk
from manyhands.web.event_log import EventLog
from manyhands.web.guard import Guard, parsed, refusal
from manyhands.web.settings import ServerSettings
from manyhands.web.trainer import Trainer

_HTML, _CSS, _JS = "text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"
STATIC = {
    "/": ("index.html", _HTML),
    "/style.css": ("style.css", _CSS),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", _JS) for name in ("main", "draw", "photo", "train", "chart", "lanes", "tools")},
}
"""All files that are served, by their paths; no path of a request ever becomes one of a file."""
_MOST_JSON, _MOST_WATCHERS = 64_000, 100
_MOST_DRAWINGS, _MOST_PHOTOS = 8, 3


class Server:
    """All that the answers need.

    Parameters
    ----------
    settings
        What the operator has decided.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.log = EventLog()
        self._trainer = Trainer(self.log)
        self._choices = data_choices(settings.data)
        self._corrections = None if settings.save_corrections is None else Corrections(settings.save_corrections)
        self._drawing, self._reading = Desk("draws", _MOST_DRAWINGS), Desk("reads", _MOST_PHOTOS)
        self._files = {path: _static(name, kind) for path, (name, kind) in STATIC.items()}
        routes = [Route(path, self._file) for path in STATIC]
        routes += [
            Route("/api/setup", self._setup),
            Route("/api/draw", self._draw, methods=["POST"]),
            Route("/api/photo", self._photo, methods=["POST"]),
            Route("/api/corrections", self._correct, methods=["POST"]),
            Route("/api/training", self._train, methods=["POST"]),
            Route("/api/training/stop", self._stop, methods=["POST"]),
            Route("/api/training/events", self._events),
        ]
        self.app = Guard(Router(routes=routes, lifespan=self._lifespan), settings)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        """Load what reads drawings; at the end, leave no process behind."""
        self._drawing.begin(_warm_up)
        yield
        self.log.close()
        await self._trainer.close()
        self._drawing.close()
        self._reading.close()

    async def _file(self, request: Request) -> Response:
        content, kind = self._files[request.url.path]
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    async def _setup(self, _request: Request) -> Response:
        """Say what the page can offer."""
        return JSONResponse(
            {
                "version": __version__,
                "side": drawings.SIDE,
                "alphabets": [{"value": key, "text": text} for key, text in drawings.ALPHABETS.items()],
                "most_bytes": photos.MOST_BYTES,
                "corrections": self._corrections is not None,
                "training": offered(self._choices),
            }
        )

    async def _draw(self, request: Request) -> Response:
        alphabet = drawings.read_alphabet(request.query_params.get("alphabet", "digits"))
        body = await read_body(request, drawings.SIDE * drawings.SIDE)
        found = await self._drawing.do(lambda: drawings.read_drawing(body, alphabet))
        self._trainer.note_disturbance()
        return JSONResponse(found)

    async def _photo(self, request: Request) -> Response:
        alphabet = drawings.read_alphabet(request.query_params.get("alphabet", "digits"))
        body = await read_body(request, photos.MOST_BYTES)
        found = await self._reading.do(lambda: photos.read_photo(body, alphabet, self._corrections))
        self._trainer.note_disturbance()
        return JSONResponse(found)

    async def _correct(self, request: Request) -> Response:
        corrections = self._corrections
        if corrections is None:
            return refusal(403, "this server stores no corrections")
        asked = parsed(await read_body(request, _MOST_JSON))
        stored = await self._reading.do(lambda: corrections.store(asked.get("key"), asked.get("labels")))
        return JSONResponse({"stored": stored})

    async def _train(self, request: Request) -> Response:
        asked = read_request(parsed(await read_body(request, _MOST_JSON)), self._choices)
        await self._trainer.start(asked, self._choices[asked.data])
        return JSONResponse({"started": True}, 202)

    async def _stop(self, request: Request) -> Response:
        await self._trainer.stop()
        return JSONResponse({"stopped": True})

    async def _events(self, request: Request) -> Response:
        """Tell all about the present training, or the last one, and go on as it goes on."""
        if self.log.watchers >= _MOST_WATCHERS:
            return refusal(503, "too many browsers watch already")
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        return StreamingResponse(self.log.follow(after), media_type="text/event-stream")


def _static(name: str, kind: str) -> tuple[bytes, str]:
    """Return a file of the page, and what it is."""
    return files("manyhands.web").joinpath("static", name).read_bytes(), kind


def _warm_up() -> None:
    try:
        drawings.warm_up()
    except ManyhandsError as error:  # said again to everybody who draws
        logging.getLogger("manyhands").warning("drawings cannot be read: %s", error)
