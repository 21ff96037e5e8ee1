"""The worker's end of a channel: engines that run in the engine process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from engines.base import DeviceLostError, EngineClosedError, EngineError, Tensors, current_cancellation
from engines.feeds import count_rows
from engines.running import RunningCalls
from engines.shared.channel import ANSWERED, ASKED, EPOCH, FAILED, LEFT, ROWS, TAKEN, Channel
from engines.shared.layout import Arrays, Layout
from engines.shared.messages import Offer, unpack_error, unpack_notice

_GLANCE_S = 0.05
"""How often a waiting call looks whether its caller left."""
_TICK_S = 0.001
_WORD = 2**32 - 1


class Seat:
    """A worker's place at a channel. Its `engines` share the slots of the place; `about` is what the engine process
    says of itself."""

    def __init__(self, channel: Channel, number: int) -> None:
        """Waits until the engine process serves and is done with what an earlier worker asked of it from this place.

        That worker must be dead. Raises EngineClosedError when the parent process is gone, and with it the hope, and
        EngineError for a number that the channel does not have.
        """
        if not 0 <= number < channel.seats:
            raise EngineError(
                f"the engine process has {channel.seats} seats, and none for worker {number}: does another service "
                "use the same data folder? End it, or give this one a folder of its own"
            )
        _wait_for(channel, lambda: channel.serving)
        self._channel, self._number = channel, number
        self.epoch = channel.epoch
        self._notice = channel.notice()
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        self.about, offers = unpack_notice(self._notice)
        layouts = {
            offer.lane: Layout(offer.inputs, offer.outputs, most=offer.rows, slot_bytes=channel.slot_bytes)
            for offer in offers.values()
        }
        slots = [_Slot(channel, slot, layouts) for slot in channel.slots_of(number)]
        _take_back(channel, slots)
        for slot in slots:
            self._free.put(slot)
        self.engines = {name: SharedEngine(self, offer, len(slots)) for name, offer in offers.items()}
        channel.sit(number)

    def call(self, lane: int, feeds: Tensors, rows: int) -> dict[str, NDArray[Any]]:
        """One run of the engine of that lane, in the next free slot."""
        epoch = self._channel.epoch
        if epoch != self.epoch:
            self._greet(epoch)
        slot = self._free.get()
        try:
            return slot.call(lane, feeds, rows, epoch)
        finally:
            self._free.put(slot)

    def is_serving(self) -> bool:
        """Whether the engine process is there: a call may be answered."""
        return self._channel.serving

    def changed(self) -> bool:
        """Whether the engine process came back with other engines, or the same ones on another device."""
        return self._channel.serving and self._channel.epoch != self.epoch and self._channel.notice() != self._notice

    def leave(self) -> None:
        """Lets the engine process end; once no call is under way. May be called again."""
        self._channel.leave(self._number)

    def _greet(self, epoch: int) -> None:
        if not epoch % 2:
            raise DeviceLostError("the engine process ended and is being started again: try again shortly")
        if self.changed():
            raise DeviceLostError("the engine process was started again with other engines than this worker knows")
        self.epoch = epoch


class SharedEngine:
    """An Engine of the engine process, for one worker.

    `run` copies the rows into shared memory, waits without the interpreter's lock, and copies the answer out; calls of
    all workers are joined there. A call takes one of the worker's slots, and waits for a free one: so many calls run
    well at once (`concurrency`). A call whose `cancellation` flag is up is skipped with CancelledError. Besides what
    the engine raises, `run` raises DeviceLostError while the engine process is gone; it comes back, so `fault` stays
    None unless it comes back with other engines.
    """

    def __init__(self, seat: Seat, offer: Offer, concurrency: int) -> None:
        self.inputs, self.outputs = offer.inputs, offer.outputs
        self.max_batch_size, self.concurrency = offer.rows, concurrency
        self.description = MappingProxyType(dict(offer.description))
        self._seat, self._lane = seat, offer.lane
        self._calls = RunningCalls()

    @property
    def fault(self) -> str | None:
        return "the engine process was started again with other engines" if self._seat.changed() else None

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        rows = count_rows(feeds, self.inputs, self.max_batch_size)
        with self._calls.one():
            return self._seat.call(self._lane, feeds, rows)

    def close(self) -> None:
        """Waits for this worker's running calls; the engine itself stays. May be called again."""
        self._calls.close()


class _Slot:
    """A slot as its worker uses it, one call at a time."""

    def __init__(self, channel: Channel, number: int, layouts: dict[int, Layout]) -> None:
        self._channel, self._number = channel, number
        self._words, self._answer = channel.words[number], channel.answers[number]
        self._arrays: dict[int, tuple[Arrays, Arrays]] = {
            lane: layout.arrays(channel, number) for lane, layout in layouts.items()
        }
        at = channel.data_at(number)
        self._data = memoryview(channel.memory)[at : at + channel.slot_bytes]

    def call(self, lane: int, feeds: Tensors, rows: int, epoch: int) -> dict[str, NDArray[Any]]:
        if self.taken:  # only where nobody came to answer or replace: see _take_back
            raise DeviceLostError("the engine process is ending and still holds this call's memory: try again shortly")
        inputs, outputs = self._arrays[lane]
        for name, array in inputs.items():
            array[:rows] = feeds[name]
        ticket = self._ask(lane, rows, epoch)
        try:
            self._wait(ticket, epoch)
        except BaseException:
            _take_back(self._channel, [self])
            raise
        if failed := self._words[FAILED]:
            raise unpack_error(bytes(self._data[:failed]))
        return {name: array[:rows].copy() for name, array in outputs.items()}

    def drop(self) -> None:
        """What was asked from this slot counts no longer, unless it has been taken already."""
        self._words[ASKED] = (self._words[ASKED] + 1) & _WORD

    @property
    def taken(self) -> bool:
        """Whether the slot is in the engine process's hands."""
        return self._words[TAKEN] != self._words[ANSWERED]

    def _ask(self, lane: int, rows: int, epoch: int) -> int:
        while self._answer.acquire(False):
            pass  # meant for an earlier call
        ticket = (self._words[ASKED] + 1) & _WORD
        self._words[EPOCH], self._words[ROWS], self._words[LEFT], self._words[ASKED] = epoch, rows, 0, ticket
        self._channel.ask(lane, self._number, ticket)
        return ticket

    def _wait(self, ticket: int, epoch: int) -> None:
        """Waking is a hint: what counts is the ticket answered."""
        is_cancelled = current_cancellation()
        while not (self._answer.acquire(True, _GLANCE_S) and self._words[ANSWERED] == ticket):
            if self._words[ANSWERED] == ticket:
                return
            if self._channel.epoch != epoch or self._channel.orphaned:
                raise DeviceLostError("the engine process ended before it answered: try again shortly")
            if is_cancelled():
                self._words[LEFT] = 1


def _take_back(channel: Channel, slots: Sequence[_Slot]) -> None:
    """Makes the slots free, whatever was asked from them before."""
    for slot in slots:
        slot.drop()
    time.sleep(_TICK_S)  # from here on the engine process has seen it, and takes none of them any more
    _wait_for(channel, lambda: not any(slot.taken for slot in slots))


def _wait_for(channel: Channel, true: Callable[[], bool]) -> None:
    while not true():
        if channel.orphaned:
            raise EngineClosedError("the parent process is gone, and nobody starts the engine process again")
        time.sleep(_TICK_S)
