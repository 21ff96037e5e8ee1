"""The process that owns the engines, where the workers do not: it answers all of them through a channel.

It joins the calls of all workers into batches, and their GPU has one process on it. See docs/adr/0003-workers.md.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from app import observability
from app.build import open_engines
from app.settings import Settings
from app.supervisor import ALIVE, FAILED_START, FAULT, READY
from engines.base import EngineError
from engines.shared.channel import Channel
from engines.shared.server import EngineServer

TICK_S = 0.1
HEARTBEAT_TICKS = 20
STUCK_S = 30.0
"""A run that lasts longer will not end: the process falls silent, and the parent replaces it. At the process's own end,
when nobody may be left to do that, it ends all the same."""

log = logging.getLogger("faceserve")


def work(settings: Settings, channel: Channel, place: int, report: int) -> int:
    """Serves until SIGTERM and the last worker's end, or until an engine has failed for good; returns the exit code.
    What went wrong at the start is said in one line. `place` is this process's among its like."""
    observability.configure_logging(settings.log_level)
    try:
        with open_engines(settings, place) as (engines, about):
            server = EngineServer(channel, engines, about=about, on_batch=observability.batch_ran)
            ending = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: ending.set())
            _watch(server, channel, report, ending)
            if server.fault is not None:
                log.error("the engines have failed, the engine process ends: %s", server.fault)
                os._exit(FAULT)  # not out of the blocks: to free what lies on a lost device can take for ever
            signal.alarm(math.ceil(STUCK_S))
            server.close()
    except (EngineError, OSError) as error:
        print(f"faceserve cannot start: {error}", file=sys.stderr, flush=True)
        return FAILED_START
    return 0


def _watch(server: EngineServer, channel: Channel, report: int, ending: threading.Event) -> None:
    """Tells the parent that all is well, for as long as it is; returns when there is nothing more to serve."""
    message = READY
    ticks = 0
    while server.fault is None and not (ending.is_set() and not channel.workers()):
        if channel.orphaned:  # the workers end, too
            ending.set()
        if ticks % HEARTBEAT_TICKS == 0 and server.longest_run_s < STUCK_S:
            with suppress(BrokenPipeError):
                os.write(report, message)
            message = ALIVE
        ticks += 1
        time.sleep(TICK_S)
