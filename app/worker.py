"""One worker process: the application on its own socket, telling its parent that it lives."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

import uvicorn

from app import observability
from app.main import Opener, create_app, open_observed
from app.places import worker_place
from app.settings import Settings
from app.supervisor import ALIVE, FAILED_START, FAULT, READY
from engines.base import EngineError
from engines.shared.channel import Channel
from gallery.types import GalleryError

HEARTBEAT_TICKS = 20
"""uvicorn ticks ten times a second."""
KEEP_ALIVE_S = 65
"""Longer than the usual minute of a proxy in front, so that it is never we who close a connection in use."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8

log = logging.getLogger("faceserve")


class Server(uvicorn.Server):
    """Reports to the parent when it listens, and then from its loop: a loop that hangs falls silent.

    Looks for a fault of the engines too, at every tick. With one it takes no more connections, answers the requests
    under way and ends; `fault` then says what it was.
    """

    def __init__(self, config: uvicorn.Config, report: int, find_fault: Callable[[], str | None]) -> None:
        super().__init__(config)
        self.fault: str | None = None
        self._report = report
        self._find_fault = find_fault

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell(READY)

    async def on_tick(self, counter: int) -> bool:
        if counter % HEARTBEAT_TICKS == 0:
            self._tell(ALIVE)
        self._end_on_fault()
        return await super().on_tick(counter)

    def _end_on_fault(self) -> None:
        if self.fault is None and (fault := self._find_fault()):
            log.error("the engines have failed, this worker ends: %s", fault)
            self.fault, self.should_exit = fault, True

    def _tell(self, message: bytes) -> None:
        try:
            os.write(self._report, message)
        except BrokenPipeError:
            log.warning("the parent process is gone: shutting down")
            self.should_exit = True


def work(settings: Settings, listener: socket.socket, report: int, channels: Sequence[Channel] = ()) -> int:
    """Serves until SIGTERM or a fault of the engines; returns the exit code. What went wrong at the start is said in
    one line. With `channels` the engines are those of the engine process at the other end of one of them."""
    observability.configure_logging(settings.log_level)
    _keep_freed_memory()
    try:
        with worker_place(settings.data_dir / "run") as place:
            serve(settings, partial(open_observed, place=place, channels=channels), listener, report)
    except (EngineError, GalleryError, OSError) as error:
        print(f"faceserve cannot start: {error}", file=sys.stderr, flush=True)
        return FAILED_START
    return 0


def serve(settings: Settings, opener: Opener, listener: socket.socket, report: int) -> None:
    """Answers on `listener` what `opener` opens, until SIGTERM; a fault of the engines ends the process. `report` is
    the pipe to the parent."""
    _run(_serve(settings, opener, listener, report))


async def _serve(settings: Settings, opener: Opener, listener: socket.socket, report: int) -> None:
    app = create_app(settings, opener)
    config = uvicorn.Config(
        app,
        lifespan="off",  # entered below: its errors come out as they are, not as a log of uvicorn's
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.body_timeout_s + settings.request_timeout_s) + 1,
    )
    async with app.router.lifespan_context(app):
        # uvicorn raises the signal again when all is answered: from now on the blocks around this one are to be left
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        server = Server(config, report, lambda: app.state.deps.service.fault)
        await server.serve([listener])
        if server.fault is not None:
            os._exit(FAULT)  # not out of the blocks: to free what lies on a lost device can take for ever


def _run(main: Coroutine[None, None, None]) -> None:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        asyncio.run(main)
    else:
        uvloop.run(main)


def _keep_freed_memory() -> None:
    """Tells glibc to keep the large blocks of bodies and pixels for the next request.

    By default each is mapped, faulted in page by page and unmapped again: a 1080p JPEG decodes in 8.2 ms, in 4.8 so.
    One arena, since each would keep as much. No other libc has these knobs.
    """
    if sys.platform != "linux":
        return
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 128 * 2**20)
