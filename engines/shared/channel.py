"""What an engine process and the workers it serves have in common: memory cut into slots, and ways to wake each other.

Made before any of them is forked, by a parent that imports nothing heavy: so this is standard library only. Nothing
here has a name that could be left behind, and a process that replaces another inherits the very same channel. Nothing
is locked across processes either: whoever is killed leaves no lock held.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import select
import struct
from collections.abc import Iterator

SLOT_BYTES = 8 * 2**20
"""Rows and answers of one call. Costs address space: memory is taken by what is written only."""
LANES = 8
"""Engines of one channel at most."""
STOP = 2**32 - 1
"""The slot number that ends a lane."""

ASKED, EPOCH, ROWS, LEFT, TAKEN, ANSWERED, FAILED = range(7)
"""The words of a slot. The worker writes the ticket of its call, the epoch that it is meant for, its rows, and 1 when
the caller left; the engine process the ticket it took, the ticket it answered, and the bytes of the error told (0:
outputs). While TAKEN is not ANSWERED, the slot is in the hands of the engine process."""

_EPOCH, _SERVER, _NOTICE, _SEATS = 0, 1, 2, 16
_WORD_BYTES, _SLOT_WORDS = 4, 16
_HEAD_BYTES, _NOTICE_BYTES = 4096, 60 * 1024
_MESSAGE = struct.Struct("=II")
_MESSAGES_A_READ = 256


class Channel:
    """Joins one engine process and up to `seats` workers, each with up to `slots` calls under way at once.

    A call lies in a slot and is asked for by its slot number and ticket in the pipe of its engine (a lane): the kernel
    keeps the line, and it outlives both ends. The ticket tells a call from those that the slot held before.

    `epoch` counts the engine process's comings and goings; while it is odd, calls are served.
    """

    def __init__(self, *, seats: int, slots: int, slot_bytes: int = SLOT_BYTES) -> None:
        """Raises OSError where the system refuses the memory, the pipes or the semaphores."""
        if not 1 <= seats <= _HEAD_BYTES // _WORD_BYTES - _SEATS:
            raise ValueError(f"a channel has 1 to {_HEAD_BYTES // _WORD_BYTES - _SEATS} seats, not {seats}")
        self.parent = os.getpid()
        self.seats, self.slots, self.slot_bytes = seats, slots, slot_bytes
        count = seats * slots
        words_at = _HEAD_BYTES + _NOTICE_BYTES
        self._data_at = -(-(words_at + count * _SLOT_WORDS * _WORD_BYTES) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self._data_at + count * slot_bytes)
        self._head = memoryview(self.memory)[:_HEAD_BYTES].cast("I")
        words = memoryview(self.memory)[words_at : self._data_at].cast("I")
        self.words = [words[start : start + _SLOT_WORDS] for start in range(0, count * _SLOT_WORDS, _SLOT_WORDS)]
        # A semaphore of the C library: waking by it costs a tenth of an eventfd, and does not let go of the GIL
        context = multiprocessing.get_context("fork")
        self.answers = [context.Semaphore(0) for _ in range(count)]
        self._pipes = [os.pipe() for _ in range(LANES)]

    def slots_of(self, seat: int) -> range:
        return range(seat * self.slots, (seat + 1) * self.slots)

    def data_at(self, slot: int) -> int:
        """Where the slot's `slot_bytes` begin in `memory`."""
        return self._data_at + slot * self.slot_bytes

    @property
    def epoch(self) -> int:
        return self._head[_EPOCH]

    @property
    def serving(self) -> bool:
        return self._head[_EPOCH] % 2 == 1

    @property
    def server(self) -> int:
        """The process id of the newest engine process; 0 before the first."""
        return self._head[_SERVER]

    @property
    def orphaned(self) -> bool:
        """Whether the process that made the channel, and would replace the engine process, is gone."""
        return self.parent not in (os.getpid(), os.getppid())

    def open(self, notice: bytes) -> None:
        """By the engine process: from now on calls are served, of the engines that `notice` describes."""
        if len(notice) > _NOTICE_BYTES:
            raise ValueError(f"the notice has {len(notice)} bytes and room for {_NOTICE_BYTES}")
        self.memory[_HEAD_BYTES : _HEAD_BYTES + len(notice)] = notice
        self._head[_NOTICE], self._head[_SERVER] = len(notice), os.getpid()
        self._head[_EPOCH] = (self.epoch + 1) | 1

    def lose(self) -> None:
        """The engine process is gone: tells all who wait. By the process itself at its end, and by the parent that
        finds it dead, before it starts another."""
        self._head[_EPOCH] = (self.epoch + 1) & ~1
        for words, answer in zip(self.words, self.answers, strict=True):
            words[TAKEN] = words[ANSWERED]
            answer.release()

    def notice(self) -> bytes:
        return self.memory[_HEAD_BYTES : _HEAD_BYTES + self._head[_NOTICE]]

    def sit(self, seat: int) -> None:
        """By a worker: the seat is its own until it leaves or dies."""
        self._head[_SEATS + seat] = os.getpid()

    def leave(self, seat: int) -> None:
        self._head[_SEATS + seat] = 0

    def workers(self) -> list[int]:
        """The process ids of the workers that are seated and alive."""
        pids = self._head[_SEATS : _SEATS + self.seats]
        return [pid for pid in pids if pid and _lives(pid)]

    def ask(self, lane: int, slot: int, ticket: int) -> None:
        """Puts a call into the lane's line. It never blocks: a pipe holds more calls than there are slots."""
        os.write(self._pipes[lane][1], _MESSAGE.pack(slot, ticket))

    def listen(self, lane: int) -> Iterator[tuple[int, int]]:
        """The slot numbers and tickets that were asked for since; waits for the first. One thread a lane at a time."""
        return _MESSAGE.iter_unpack(os.read(self._pipes[lane][0], _MESSAGES_A_READ * _MESSAGE.size))

    def forget(self, lane: int) -> None:
        """By a new engine process: drops what was asked of the last one, whose callers know that it is gone."""
        reader = self._pipes[lane][0]
        while select.select([reader], [], [], 0)[0]:
            os.read(reader, _MESSAGES_A_READ * _MESSAGE.size)

    def close(self) -> None:
        """Closes this process's ends of the pipes; the memory goes with the last one who looks at it."""
        for ends in self._pipes:
            for end in ends:
                os.close(end)
        self._pipes = []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
