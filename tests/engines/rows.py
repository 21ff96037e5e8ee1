"""Calls whose rows can be told apart, an engine without a network that answers them, and threads to call it from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import EngineClosedError, Tensors, TensorSpec

POISON = 255
PATIENCE_S = 20

Answer = Future[dict[str, NDArray[Any]]]


def call(*numbers: int) -> Tensors:
    """A call of one row for each number, the row filled with it."""
    return {"rows": np.repeat(np.array(numbers, np.uint8)[:, None], 4, axis=1)}


def answers_to(outputs: Tensors, *numbers: int) -> bool:
    """Whether these are a RowEngine's outputs for `call(*numbers)`."""
    expected = np.array(numbers, np.float32)
    return bool(
        np.array_equal(outputs["doubled"][:, 0], expected * 2) and np.array_equal(outputs["total"], expected * 4)
    )


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0005)


def in_background(work: Callable[[], dict[str, NDArray[Any]]]) -> Answer:
    """Runs `work` on a thread that, should it hang, does not hang the tests."""
    answer: Answer = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001  (handed to whoever asks for the result)
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


class RowEngine:
    """An engine whose answer to a row (4,) uint8 is the row doubled and its sum; a row with POISON fails its call.

    With `gate` given a run waits until the gate is released once for it, so that a test decides when calls meet.
    """

    inputs = (TensorSpec("rows", "uint8", (None, 4)),)
    description = {"runtime": "test"}  # noqa: RUF012
    fault: str | None = None
    outputs = (TensorSpec("doubled", "float32", (None, 4)), TensorSpec("total", "float32", (None,)))

    def __init__(
        self, *, max_batch_size: int = 4, concurrency: int = 1, gate: threading.Semaphore | None = None
    ) -> None:
        self.max_batch_size = max_batch_size
        self.concurrency = concurrency
        self.gate = gate
        self.batches: list[list[int]] = []
        """The first number of each row, run by run, in the order in which runs began."""
        self.most_at_once = 0
        self.closed = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        rows = feeds["rows"]
        with self._lock:
            if self.closed.is_set():
                raise EngineClosedError("closed")
            self.batches.append(rows[:, 0].tolist())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.gate is not None:
                self.gate.acquire()
            if (rows == POISON).any():
                raise ValueError("a poisoned row")
            return {"doubled": rows.astype(np.float32) * 2, "total": rows.sum(axis=1, dtype=np.float32)}
        finally:
            with self._lock:
                self._at_once -= 1

    def close(self) -> None:
        self.closed.set()
