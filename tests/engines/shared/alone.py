"""An engine behind shared memory with both ends in one process, for tests that need no second one."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from engines.base import Engine, Tensors
from engines.shared.channel import Channel
from engines.shared.client import Seat
from engines.shared.server import EngineServer


class Alone:
    """`inner` as the only worker sees it; closing it closes all."""

    def __init__(self, inner: Engine) -> None:
        self._inner, self._channel = inner, Channel(seats=1, slots=8)
        self._server = EngineServer(self._channel, {"inner": inner})
        self._shared = Seat(self._channel, 0).engines["inner"]
        self.inputs, self.outputs = self._shared.inputs, self._shared.outputs
        self.max_batch_size, self.concurrency = self._shared.max_batch_size, self._shared.concurrency
        self.description, self.fault = self._shared.description, self._shared.fault
        self._open = True

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        return self._shared.run(feeds)

    def close(self) -> None:
        self._shared.close()
        if self._open:
            self._server.close()
            self._channel.close()
            self._inner.close()
        self._open = False
