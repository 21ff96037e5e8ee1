"""What a route works with: the service, the threads that run it, and how answers are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.execution import Execution
from app.service import FaceService
from app.settings import Settings
from app.wire import ModelT, read_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deps:
    """Made once, at start; lives on `app.state.deps`."""

    settings: Settings
    service: FaceService
    execution: Execution


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def request_id_of(request: Request) -> str:
    request_id: str = request.scope["request_id"]
    return request_id


async def run(request: Request, work: Callable[[FaceService], T]) -> T:
    """Admits the request and runs `work` on the pool: for whatever reads or writes the gallery."""
    deps = deps_of(request)
    with deps.execution.admission:
        return await deps.execution.one(request.receive, lambda _: work(deps.service))


async def run_with(request: Request, model: type[ModelT], work: Callable[[FaceService, ModelT], T]) -> T:
    """As `run`, with the JSON body as a `model`; it is read once the request is admitted."""
    deps = deps_of(request)
    with deps.execution.admission:
        asked = await read_json(request, deps.settings, model)
        return await deps.execution.one(request.receive, lambda _: work(deps.service, asked))


class JsonAnswer(Response):
    """Plain dicts as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


class BareRoute(APIRoute):
    """Hands the endpoint the request and nothing else: no parameters are looked for, no body is read ahead of it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handler: Callable[[Request], Any] = self.endpoint
        return handler
