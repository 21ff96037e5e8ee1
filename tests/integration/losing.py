"""An engine that loses its device, and a service whose first worker has one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engines.base import DeviceLostError, Engine, Tensors, TensorSpec
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


class LosingEngine:
    """A real engine that answers `calls` runs and then none, like one whose GPU is gone."""

    def __init__(self, engine: Engine, calls: int) -> None:
        self._engine = engine
        self._left = calls
        self._lock = threading.Lock()
        self.fault: str | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.outputs

    @property
    def max_batch_size(self) -> int:
        return self._engine.max_batch_size

    @property
    def concurrency(self) -> int:
        return self._engine.concurrency

    @property
    def description(self) -> Mapping[str, str]:
        return self._engine.description

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                self.fault = LOST
                raise DeviceLostError(LOST)
        return self._engine.run(feeds)

    def close(self) -> None:
        self._engine.close()


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
