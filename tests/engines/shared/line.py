"""An engine process and its workers in one process, for tests that decide when calls meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines import base
from engines.base import Tensors
from engines.shared.channel import Channel
from engines.shared.client import Seat, SharedEngine
from engines.shared.server import EngineServer

if TYPE_CHECKING:
    from tests.engines.conftest import InBackground, RowEngine

POISON = 255
PATIENCE_S = 20
SEATS, SLOTS = 2, 6

Answer = Future[dict[str, NDArray[Any]]]


def call(*numbers: int) -> Tensors:
    """A call of one row for each number, the row filled with it."""
    return {"rows": np.repeat(np.array(numbers, np.uint8)[:, None], 4, axis=1)}


def answers_to(outputs: Tensors, *numbers: int) -> bool:
    expected = np.array(numbers, np.float32)
    return bool(
        np.array_equal(outputs["doubled"][:, 0], expected * 2) and np.array_equal(outputs["total"], expected * 4)
    )


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0005)


class CountedChannel(Channel):
    """Tells how many calls stand in its pipes' lines or have stood there."""

    sent = 0

    def ask(self, lane: int, slot: int, ticket: int) -> None:
        super().ask(lane, slot, ticket)
        self.sent += 1


class Line:
    """A served RowEngine whose runs stay until `release`, and the workers at its two seats."""

    def __init__(self, row_engine: type[RowEngine], in_background: InBackground, **options: Any) -> None:
        self.gate = threading.Semaphore(0)
        self.inner = row_engine(gate=self.gate, **options)
        self.batches_told: list[tuple[str, int]] = []
        self.channel = CountedChannel(seats=SEATS, slots=SLOTS)
        self.server = EngineServer(
            self.channel, {"row": self.inner}, on_batch=lambda name, rows: self.batches_told.append((name, rows))
        )
        self.seats = [Seat(self.channel, number) for number in range(SEATS)]
        self._in_background = in_background

    def engine(self, seat: int) -> SharedEngine:
        return self.seats[seat].engines["row"]

    def start(self, *numbers: int, seat: int = 0, is_cancelled: Callable[[], bool] = lambda: False) -> Answer:
        """Calls from a thread of its own and returns once the call stands in line or runs."""
        before = self.channel.sent

        def run() -> dict[str, NDArray[Any]]:
            with base.cancellation(is_cancelled):
                return self.engine(seat).run(call(*numbers))

        answer = self._in_background(run)
        until(lambda: self.channel.sent > before or answer.done())
        return answer

    def begin(self, number: int) -> Answer:
        """A call that runs, so that those after it wait."""
        answer = self.start(number)
        until(lambda: len(self.inner.batches) == 1)
        return answer
