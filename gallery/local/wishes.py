"""Work that can wait, done one after the other in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

AFTER_FAILURE_S = 60


class Wishes(Generic[T]):
    """Has each thing (hashable) that is wished for done once, by `fulfil`, which says whether it was, and raises
    nothing. What was not done is not begun again for AFTER_FAILURE_S.

    The thread, called `name`, starts with the first wish, and ends with `close`. Any thread may call.
    """

    def __init__(self, name: str, fulfil: Callable[[T], bool]) -> None:
        self._name = name
        self._fulfil = fulfil
        self._changed = threading.Condition()
        self._wishes = dict[T, None]()
        self._failed: dict[T, float] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many wait, the one that is worked on among them."""
        return len(self._wishes)

    def wish(self, thing: T) -> None:
        """Has it done soon; once, however often this is called."""
        with self._changed:
            if self._closed or thing in self._wishes or self._failed.get(thing, 0) > time.monotonic():
                return
            self._wishes[thing] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Waits for the thread, which should soon ask `is_open`. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def is_open(self) -> bool:
        """Whether to go on; for `fulfil` to ask."""
        return not self._closed

    def pause(self, seconds: float) -> bool:
        """Whether to go on after it; for `fulfil`."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closed, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wishes)
                if self._closed:
                    return
                thing = next(iter(self._wishes))
            done = self._fulfil(thing)
            with self._changed:
                self._wishes.pop(thing, None)
                self._failed.pop(thing, None)
                if not done:
                    self._failed[thing] = time.monotonic() + AFTER_FAILURE_S
