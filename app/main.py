"""The ASGI application of one worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app import docs, observability
from app.build import open_service
from app.deps import Deps
from app.execution import Execution
from app.middleware import Door, raise_as_ours
from app.routes import collections, faces, gallery, health, transfer
from app.service import FaceService
from app.settings import Settings

ROUTERS = (
    faces.router,
    gallery.bare,
    gallery.router,
    transfer.router,
    collections.router,
    health.router,
    docs.router,
)
Opener = Callable[[Settings], AbstractContextManager[FaceService]]
open_observed = partial(open_service, on_batch=observability.batch_ran)


def create_app(settings: Settings, opener: Opener = open_observed) -> FastAPI:
    """The service as an ASGI application; `opener` opens what the routes serve when the lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with opener(settings) as service:
            execution = Execution(
                threads=settings.pipeline_threads,
                max_pending=settings.max_pending,
                timeout_s=settings.request_timeout_s,
            )
            app.state.deps = Deps(settings, service, execution)
            try:
                yield
            finally:
                await asyncio.to_thread(execution.close)

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # include_router would match each request twice
    app.add_exception_handler(HTTPException, raise_as_ours)
    app.add_exception_handler(RequestValidationError, raise_as_ours)
    app.add_middleware(Door, settings=settings)
    return app
