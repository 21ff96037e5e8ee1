"""The calls of an engine that are under way, so that closing it waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from engines.base import EngineClosedError


class RunningCalls:
    """Counts them. May be used from any thread."""

    def __init__(self) -> None:
        self._idle = threading.Condition()
        self._count = 0
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """A block that is a call; EngineClosedError once they were closed."""
        with self._idle:
            if self._closed:
                raise EngineClosedError("the engine was closed; load it again to run it")
            self._count += 1
        try:
            yield
        finally:
            with self._idle:
                self._count -= 1
                self._idle.notify_all()

    def close(self) -> None:
        """Lets no further call begin, and returns when the last has ended. May be called again."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._count == 0)
