"""What surrounds every request: its id, the key, its place in the metrics, and problems as the answer to any error."""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from typing import NoReturn

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import observability
from app.audit.actor import Actor, acting
from app.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    MethodNotAllowedError,
    RouteNotFoundError,
    UnauthorizedError,
    kind_of,
    problem,
    retry_after_s,
)
from app.execution import ClientGoneError, TimeLimit
from app.keys import ANONYMOUS, Keys
from app.present import new_request_id
from app.settings import Settings
from app.wire import invalid
from gallery.types import GalleryError

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Asked without a key, beside the docs page: they tell nothing of anyone."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
SHOWN_PATH = 200
LINGER_S = 1.0
"""How long the rest of a refused body is read and dropped: a client that is still sending when the connection closes
would see a broken connection in place of its answer."""

log = logging.getLogger("faceserve")


class Door:
    """Pure ASGI: BaseHTTPMiddleware would cost a task and a stream a request."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = Keys(settings.named_keys)
        self._audited = settings.audit != "off"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        since = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        scope["request_id"] = request_id
        status = observability.CLIENT_GONE
        id_header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append(id_header)
            await send(message)

        observability.begin()
        try:
            who = self._check_key(scope["path"], headers)
            with acting(_actor(who, scope) if self._audited else None):
                await self._app(scope, receive, send_with_id)
        except ClientGoneError:
            pass
        except Exception as error:
            if status != observability.CLIENT_GONE:
                raise  # the answer has begun; all that is left is to break it off
            await _refuse(error, scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - since
            route = getattr(scope.get("route"), "path", "none")
            observability.end(route, status, seconds)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s %s %d %.1f ms %s", scope["method"], route, status, 1e3 * seconds, request_id)

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> str:
        """The name of the key that was sent. Raises UnauthorizedError."""
        if not self._keys or path in OPEN_PATHS or path == "/docs" or path.startswith("/docs/"):
            return ANONYMOUS
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            given = headers.get(b"x-api-key", b"")
        name = self._keys.name_of(given.strip())
        if name is None:
            raise UnauthorizedError("send the service's key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        return name


def _actor(who: str, scope: Scope) -> Actor:
    client = scope.get("client")

    def via() -> str | None:  # asked once the request has found its route
        path = getattr(scope.get("route"), "path", None)
        return path and f"{scope['method']} {path}"

    return Actor(who, client and client[0], scope["request_id"], via)


async def raise_as_ours(request: Request, error: Exception) -> NoReturn:
    """The handler of the framework's own errors: they leave as the service's, which `Door` answers."""
    if isinstance(error, RequestValidationError):
        raise invalid({**item, "loc": item["loc"][1:]} for item in error.errors()) from None
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = _allowed(request)
        raise MethodNotAllowedError(f"{request.method} is not allowed here, {allowed} is", allowed=allowed) from None
    if isinstance(error, HTTPException) and error.status_code == 404:
        raise RouteNotFoundError("the routes are listed at /docs") from None
    raise error


def _allowed(request: Request) -> str:
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.path_regex.match(request.scope["path"])]
    return ", ".join(sorted(method for route in here for method in route.methods or ()))


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else new_request_id()


async def _refuse(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    kind, request_id = kind_of(error), scope["request_id"]
    observability.rejected(kind.code)
    if not kind.told:
        # A gallery's error says all by itself, and comes with every request while its storage is away.
        trace = None if isinstance(error, GalleryError) else error
        log.error("request %s failed: %s", request_id, error, exc_info=trace)
    body = orjson.dumps(problem(error, request_id=request_id, instance=scope["path"][:SHOWN_PATH]))
    unread = isinstance(error, BodyTooLargeError | BodyTimeoutError)
    headers = {"content-type": "application/problem+json", "content-length": str(len(body))} | _headers(error)
    if unread:
        headers["connection"] = "close"
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": kind.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": unread})
    if unread:
        await _drop_rest(receive)
        await send({"type": "http.response.body", "body": b""})


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, UnauthorizedError):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, MethodNotAllowedError):
        return {"allow": error.allowed}
    seconds = retry_after_s(error)
    return {} if seconds is None else {"retry-after": str(seconds)}


async def _drop_rest(receive: Receive) -> None:
    with suppress(BodyTimeoutError), TimeLimit(LINGER_S, lambda: BodyTimeoutError("the rest was not read")):
        while (await receive()).get("more_body"):
            pass
