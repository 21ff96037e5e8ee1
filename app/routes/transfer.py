"""Backup and migration: a collection as a stream of NDJSON lines, out and in again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.deps import JsonAnswer, deps_of, request_id_of
from app.errors import BodyTimeoutError, BodyTooLargeError
from app.execution import ClientGoneError
from app.openapi import NDJSON, answers, content, ndjson_in

router = APIRouter(tags=["gallery"], default_response_class=Response)
LINES_A_BLOCK = 64


@router.post("/gallery:export", openapi_extra=content(NDJSON))
async def export(request: Request, collection: Annotated[str, Query()] = "default") -> Response:
    """The collection with its embeddings, a line a record, the last with counts and a digest; `/gallery:import` reads
    it."""
    deps = deps_of(request)
    lines = deps.service.export(collection)

    def block() -> bytes:
        return b"".join(islice(lines, LINES_A_BLOCK))

    async def blocks(first: bytes) -> AsyncIterator[bytes]:
        while first:
            yield first
            first = await deps.execution.bulk(block)

    with deps.execution.admission:
        first = await deps.execution.bulk(block)  # an unknown collection is told before the answer begins
    return StreamingResponse(blocks(first), media_type="application/x-ndjson")


@router.post("/gallery:import", openapi_extra=ndjson_in(answers("ImportAnswer")))
async def import_(
    request: Request,
    collection: Annotated[str | None, Query(description="import under this name instead of the exported one")] = None,
) -> Response:
    """Reads what `/gallery:export` wrote, line by line: the body may be larger than the limit, a line may not.

    What is there already is skipped, so a broken import may be repeated. An export that is no longer as it was made is
    refused at its end, by its counts and its digest: what came before stays.
    """
    deps = deps_of(request)
    chunks = _chunks(request, deps.settings.body_timeout_s)
    lines = lines_of(chunks, limit=deps.settings.max_body_bytes)
    with deps.execution.admission:
        counts = await deps.execution.bulk(partial(deps.service.import_lines, lines, collection))
    return JsonAnswer({"request_id": request_id_of(request)} | counts)


def lines_of(chunks: Iterable[bytes], *, limit: int) -> Iterator[bytes]:
    """The lines in a stream of bytes, without their ends. Raises BodyTooLargeError for one longer than `limit`."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > limit:
            raise BodyTooLargeError(f"a line is longer than {limit} bytes")
    if rest:
        yield rest


def _chunks(request: Request, timeout_s: float) -> Iterator[bytes]:
    """The body's chunks, for another thread: each is fetched from the loop when asked for, so none pile up."""
    loop = asyncio.get_running_loop()

    def pulled() -> Iterator[bytes]:
        more = True
        while more:
            coming = asyncio.run_coroutine_threadsafe(asyncio.wait_for(request.receive(), timeout_s), loop)
            try:
                message = coming.result()
            except (TimeoutError, asyncio.TimeoutError):
                raise BodyTimeoutError(f"nothing came within {timeout_s:g} s") from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message["more_body"]
            yield message["body"]

    return pulled()
