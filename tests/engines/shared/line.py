"""An engine process and its workers in one process, for tests that decide when calls meet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from engines import base
from engines.shared.channel import Channel
from engines.shared.client import Seat, SharedEngine
from engines.shared.server import EngineServer
from tests.engines.rows import Answer, RowEngine, call, in_background, until

SEATS, SLOTS = 2, 6


class CountedChannel(Channel):
    """Tells how many calls stand in its pipes' lines or have stood there."""

    sent = 0

    def ask(self, lane: int, slot: int, ticket: int) -> None:
        super().ask(lane, slot, ticket)
        self.sent += 1


class Line:
    """A served RowEngine whose runs stay until `release`, and the workers at its two seats."""

    def __init__(self, **options: Any) -> None:
        self.gate = threading.Semaphore(0)
        self.inner = RowEngine(gate=self.gate, **options)
        self.batches_told: list[tuple[str, int]] = []
        self.channel = CountedChannel(seats=SEATS, slots=SLOTS)
        self.server = EngineServer(
            self.channel, {"row": self.inner}, on_batch=lambda name, rows: self.batches_told.append((name, rows))
        )
        self.seats = [Seat(self.channel, number) for number in range(SEATS)]

    def engine(self, seat: int) -> SharedEngine:
        return self.seats[seat].engines["row"]

    def start(self, *numbers: int, seat: int = 0, is_cancelled: Callable[[], bool] = lambda: False) -> Answer:
        """Calls from a thread of its own and returns once the call stands in line or runs."""
        before = self.channel.sent

        def run() -> dict[str, NDArray[Any]]:
            with base.cancellation(is_cancelled):
                return self.engine(seat).run(call(*numbers))

        answer = in_background(run)
        until(lambda: self.channel.sent > before or answer.done())
        return answer

    def begin(self, number: int) -> Answer:
        """A call that runs, so that those after it wait."""
        answer = self.start(number)
        until(lambda: len(self.inner.batches) == 1)
        return answer
