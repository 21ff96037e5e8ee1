"""An engine that loses its device, and a service whose first worker has one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engines.base import DeviceLostError, Engine, Tensors
from engines.forwarding import Forwarding
from engines.load import LoadOptions, load_engine
from tests.integration.running import SERVE

LOST = "the GPU has fallen off the bus"
CALLS, MARKER = "LOSING_CALLS", "LOSING_MARKER"

SERVE_LOSING = f"""
import os

def lose():
    from tests.integration.losing import lose_in_first_process
    lose_in_first_process()

os.register_at_fork(after_in_child=lose)
{SERVE}
"""
"""A program for `running`: of its workers the first to load an engine loses the main detector's device."""


class LosingEngine(Forwarding):
    """A real engine that answers `calls` runs and then none, like one whose GPU is gone."""

    def __init__(self, engine: Engine, calls: int) -> None:
        super().__init__(engine)
        self._left = calls
        self._lock = threading.Lock()
        self._lost: str | None = None

    @property
    def fault(self) -> str | None:
        return self._lost

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                self._lost = LOST
                raise DeviceLostError(LOST)
        return super().run(feeds)


def losing(calls: int) -> Callable[[Path, LoadOptions], Engine]:
    """A `load_engine` whose main detector loses its device after so many runs, the one of the warm-up among them."""

    def load(path: Path, options: LoadOptions) -> Engine:
        engine = load_engine(path, options)
        return LosingEngine(engine, calls) if path.stem == "640x640" else engine

    return load


def lose_in_first_process() -> None:
    """Only the first process to come here is changed; the environment says how long its device lasts."""
    import app.build

    try:
        Path(os.environ[MARKER]).touch(exist_ok=False)
    except FileExistsError:
        return
    vars(app.build)["load_engine"] = losing(int(os.environ[CALLS]))
