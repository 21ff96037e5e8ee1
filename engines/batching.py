"""Joins the calls of many threads into batches, without a thread or a timer of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from engines.base import (
    CancelledError,
    Engine,
    EngineBusyError,
    EngineClosedError,
    Tensors,
    current_cancellation,
)
from engines.feeds import count_rows
from engines.forwarding import Forwarding
from engines.joining import run_each_of

log = logging.getLogger("faceserve")


class _Call:
    """One caller's rows, and in the end either outputs or an error; `woken` with neither means: lead the next batch."""

    def __init__(self, feeds: Tensors, rows: int) -> None:
        self.feeds = feeds
        self.rows = rows
        self.is_cancelled = current_cancellation()
        self.woken = threading.Event()
        self.outputs: dict[str, NDArray[Any]] | None = None
        self.error: Exception | None = None

    @property
    def answered(self) -> bool:
        return self.outputs is not None or self.error is not None

    def result(self) -> dict[str, NDArray[Any]]:
        if self.outputs is not None:
            return self.outputs
        assert self.error is not None
        try:
            raise self.error
        finally:
            self.error = None  # else the error and its traceback would hold each other, and the feeds, until a gc


class BatchingEngine(Forwarding):
    """An Engine over an Engine, whose concurrent calls share runs.

    At most `concurrency` callers run the inner engine at once, each on its own thread. A caller that finds a free slot
    runs at once; others stand in line. Whoever finishes hands the slot to the head of the line, which takes its own
    rows and those of the calls behind it while they fit `max_batch_size`. So nothing waits for a batch to fill, and
    batches grow only under load.

    Every caller is answered: calls of a failed batch are run again one by one, so that a bad one fails alone; a call
    whose `cancellation` flag is up is skipped with CancelledError; a line of `max_waiting` calls refuses more with
    EngineBusyError. The arrays returned are the caller's own, contiguous and writable. Feeds are not to be changed
    while the call runs. `on_batch(rows)` is called after each successful run, on the thread that ran it; what it raises
    is logged.
    """

    def __init__(
        self, engine: Engine, *, max_waiting: int = 256, on_batch: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(engine)
        self._run_each = run_each_of(engine)
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        # Guarded by the lock. A slot is handed on, never freed, while calls wait: so calls wait only when all slots
        # are taken, and no running leader means an empty line.
        self._waiting: deque[_Call] = deque()
        self._leaders = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many calls stand in line at this moment."""
        return len(self._waiting)

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        call = _Call(feeds, count_rows(feeds, self.inputs, self.max_batch_size))
        if not self._enter(call):
            call.woken.wait()
        if not call.answered:
            self._lead(call)
        return call.result()

    def close(self) -> None:
        """Refuses new calls, answers those running and waiting, then closes the inner engine. May be called again."""
        with self._lock:
            self._closed = True
            self._idle.wait_for(lambda: self._leaders == 0)
        self._engine.close()

    def _enter(self, call: _Call) -> bool:
        """Takes a free slot (True) or a place in line (False)."""
        with self._lock:
            if self._closed:
                raise EngineClosedError("the engine was closed; load it again to run it")
            if self._leaders < self.concurrency:
                self._leaders += 1
                return True
            if len(self._waiting) >= self._max_waiting:
                raise EngineBusyError(f"{len(self._waiting)} calls wait for the engine already; try again shortly")
            self._waiting.append(call)
            return False

    def _lead(self, call: _Call) -> None:
        try:
            self._run(self._gather(call))
        finally:
            self._hand_on()

    def _gather(self, leader: _Call) -> list[_Call]:
        """The leader's call and those behind it that fit, less the ones whose callers left."""
        batch: list[_Call] = []
        room = self.max_batch_size
        call: _Call | None = leader
        while call is not None:
            if self._is_wanted(call):
                batch.append(call)
                room -= call.rows
            call = self._next(room)
        return batch

    def _next(self, room: int) -> _Call | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting and self._waiting[0].rows <= room else None

    def _is_wanted(self, call: _Call) -> bool:
        try:
            if not call.is_cancelled():
                return True
            self._answer(call, error=CancelledError("the caller left before its rows were run"))
        except Exception as error:  # noqa: BLE001  (a flag that raises fails its own call, not the leader's batch)
            self._answer(call, error=error)
        return False

    def _run(self, batch: Sequence[_Call]) -> None:
        if not batch:
            return
        rows = sum(call.rows for call in batch)
        try:
            answers = self._run_each([call.feeds for call in batch])
        except Exception as error:  # noqa: BLE001  (whatever the engine raises belongs to the caller who caused it)
            if len(batch) == 1:
                self._answer(batch[0], error=error)
            for call in batch if len(batch) > 1 else ():
                self._run([call])
            return
        for call, outputs in zip(batch, answers, strict=True):
            self._answer(call, outputs=outputs)
        self._report(rows)

    def _report(self, rows: int) -> None:
        if self._on_batch is None:
            return
        try:
            self._on_batch(rows)
        except Exception:  # other calls of a failed batch may not have been answered yet
            log.exception("a batch was not reported")

    @staticmethod
    def _answer(call: _Call, *, outputs: dict[str, NDArray[Any]] | None = None, error: Exception | None = None) -> None:
        call.outputs, call.error = outputs, error
        call.woken.set()

    def _hand_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().woken.set()
            else:
                self._leaders -= 1
                self._idle.notify_all()
