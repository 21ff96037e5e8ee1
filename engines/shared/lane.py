"""One engine of the engine process, the line of calls for it, and the threads that run them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from engines.base import CancelledError, Engine, Tensors
from engines.joining import run_each_of
from engines.shared.channel import ANSWERED, ASKED, EPOCH, FAILED, LEFT, ROWS, STOP, TAKEN, Channel
from engines.shared.layout import Layout
from engines.shared.messages import pack_error

log = logging.getLogger("faceserve")


class Lane:
    """Answers the calls asked in lane `number` of the channel, by `engine.concurrency` threads, until closed."""

    def __init__(
        self,
        channel: Channel,
        number: int,
        name: str,
        engine: Engine,
        layout: Layout,
        taking: threading.Lock,
        on_batch: Callable[[int], None] | None,
    ) -> None:
        """`taking` is one lock for all lanes: the same slot may be asked for in any of them."""
        self._channel, self._number, self._name, self._engine = channel, number, name, engine
        self._run_each = run_each_of(engine)
        self._on_batch = on_batch
        self._slots = [_Slot(channel, slot, layout, taking) for slot in range(channel.seats * channel.slots)]
        self._line = threading.Lock()  # guards the next three; whoever holds it waits for the next call
        self._asked: deque[tuple[int, int]] = deque()
        self._left_over: _Slot | None = None
        self._closed = False
        self._begun: dict[int, float] = {}
        channel.forget(number)
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{index}", daemon=True)
            for index in range(engine.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def longest_run_s(self) -> float:
        return max((time.monotonic() - since for since in self._begun.copy().values()), default=0.0)

    def close(self) -> None:
        """Answers what was asked before, and ends the threads."""
        self._channel.ask(self._number, STOP, 0)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        thread = threading.get_ident()
        while batch := self._take():
            self._begun[thread] = time.monotonic()
            self._run(batch)
            del self._begun[thread]

    def _take(self) -> list[_Slot]:
        """The calls that wait, in order, as far as they fit one run; waits for the first. Empty at the end."""
        batch: list[_Slot] = []
        room = self._engine.max_batch_size
        with self._line:
            while slot := self._next(wait=not batch):
                if slot.rows > room:
                    self._left_over = slot
                    break
                batch.append(slot)
                room -= slot.rows
        return batch

    def _next(self, *, wait: bool) -> _Slot | None:
        if (slot := self._left_over) is not None:
            self._left_over = None
            return slot
        while self._asked or (wait and self._listen()):
            number, ticket = self._asked.popleft()
            if self._slots[number].take(ticket):
                return self._slots[number]
        return None

    def _listen(self) -> bool:
        while not self._asked and not self._closed:
            for number, ticket in self._channel.listen(self._number):
                if number == STOP:
                    self._closed = True
                else:
                    self._asked.append((number, ticket))
        return bool(self._asked)

    def _run(self, batch: Sequence[_Slot]) -> None:
        try:
            answers = self._run_each([slot.feeds() for slot in batch])
            for slot, outputs in zip(batch, answers, strict=True):
                slot.write(outputs)
        except Exception as error:  # noqa: BLE001  (whatever the engine raises belongs to the caller who caused it)
            if len(batch) == 1:
                batch[0].fail(error)
            for slot in batch if len(batch) > 1 else ():
                self._run([slot])
            return
        for slot in batch:
            slot.answer()
        self._report(sum(slot.rows for slot in batch))

    def _report(self, rows: int) -> None:
        if self._on_batch is None:
            return
        try:
            self._on_batch(rows)
        except Exception:  # other calls of a failed batch may not have been answered yet
            log.exception("a batch of %s was not reported", self._name)


class _Slot:
    """A slot as the engine process uses it: taken with a call's ticket, and answered with the same."""

    def __init__(self, channel: Channel, number: int, layout: Layout, taking: threading.Lock) -> None:
        self._channel, self._taking = channel, taking
        self._words, self._answer = channel.words[number], channel.answers[number]
        self._inputs, self._outputs = layout.arrays(channel, number)
        at = channel.data_at(number)
        self._data = memoryview(channel.memory)[at : at + channel.slot_bytes]
        self._ticket = self.rows = 0

    def take(self, ticket: int) -> bool:
        """Whether the call is there to be run. Not if the worker that asked has dropped it, or has died and the next
        one has: from TAKEN on, and not before, a worker waits for the answer before it uses the slot again. Not either
        if it was meant for an earlier engine process, which may have had other engines."""
        words = self._words
        with self._taking:
            if words[ASKED] != ticket or words[EPOCH] != self._channel.epoch:
                return False
            words[TAKEN] = ticket
            if words[ASKED] != ticket:
                words[TAKEN] = words[ANSWERED]
                return False
        self._ticket, self.rows = ticket, words[ROWS]
        if words[LEFT]:
            self.fail(CancelledError("the caller left before its rows were run"))
            return False
        return True

    def feeds(self) -> Tensors:
        return {name: array[: self.rows] for name, array in self._inputs.items()}

    def write(self, outputs: Tensors) -> None:
        for name, array in self._outputs.items():
            array[: self.rows] = outputs[name]

    def answer(self, failed: int = 0) -> None:
        self._words[FAILED] = failed
        self._words[ANSWERED] = self._ticket  # from here on the slot is the worker's
        self._answer.release()

    def fail(self, error: Exception) -> None:
        told = pack_error(error)[: len(self._data)]
        self._data[: len(told)] = told
        self.answer(failed=len(told))
