"""Has the bytes of the expired leave Milvus, in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from gallery.types import StorageError

log = logging.getLogger("faceserve")

EVERY_S = 60.0


class Sweeper:
    """Calls `sweep` from time to time, from one thread, between `start` and `close`."""

    def __init__(self, sweep: Callable[[], object], every_s: float = EVERY_S) -> None:
        self._sweep = sweep
        self._every_s = every_s
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """May be called twice; does nothing once it is closed."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Waits for the thread. May be called twice."""
        with self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        # Not all at once: every worker of every machine has one of these.
        while not self._closed.wait(self._every_s * random.uniform(0.5, 1.5)):
            self._attempt()

    def _attempt(self) -> None:
        try:
            self._sweep()
        except Exception as error:  # the thread goes on, and tries again
            log.warning(
                "expired identities could not be erased yet: %s", error, exc_info=not isinstance(error, StorageError)
            )
