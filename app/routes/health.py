"""How the service is: alive, ready, what it runs, what it has done."""

from __future__ import annotations

import asyncio
import os

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app import observability
from app.deps import JsonAnswer, deps_of, run
from app.errors import NotReadyError
from app.openapi import OBJECT, TEXT, answers, content

router = APIRouter(tags=["service"], default_response_class=Response)


@router.get("/healthz", openapi_extra=answers("StatusAnswer"))
async def alive() -> Response:
    """This worker's event loop turns."""
    return JsonAnswer({"status": "ok"})


@router.get("/readyz", openapi_extra=answers("StatusAnswer"))
async def ready(request: Request) -> Response:
    """The engines are warm and the gallery can be read; otherwise 503 with the reasons."""
    reasons = await asyncio.to_thread(deps_of(request).service.reasons_not_ready)
    if reasons:
        raise NotReadyError("; ".join(reasons))
    return JsonAnswer({"status": "ready"})


@router.get("/models", openapi_extra=content(OBJECT))
async def models(request: Request) -> Response:
    """Every model: licence, sha256, sizes, dimension, recommended thresholds with their FAR."""
    return JsonAnswer({"models": await run(request, lambda service: service.about.models())})


@router.get("/info", openapi_extra=content(OBJECT))
async def info(request: Request) -> Response:
    """Version, runtime and device really in use, limits, and which worker answered."""
    return JsonAnswer(await run(request, lambda service: service.about.info()) | {"pid": os.getpid()})


@router.get("/metrics", openapi_extra=content(TEXT))
async def metrics() -> Response:
    """Prometheus metrics, summed over all workers."""
    text = await asyncio.to_thread(observability.exposition)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
