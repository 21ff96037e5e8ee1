"""Keeps worker processes alive: forks them, hears from them through a pipe each, and ends them gracefully."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

READY, ALIVE = b"R", b"."
"""What a worker writes into its pipe: once when it listens, then every few seconds from its event loop."""
SILENCE_S = 60.0
"""A worker that has not been heard of for so long hangs, and is replaced."""
FAILED_START = 3
"""The exit code of a worker that could not start, and then of the service."""
FAULT = 4
"""The exit code of a process whose engines failed for good."""
TICK_S = 1.0
SHORT_LIFE_S = 10.0
"""A worker that lived no longer counts towards a pause before the next."""
LONGEST_PAUSE_S = 30.0
ENDS = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[int], int]
"""A worker's life, in its own process: takes the pipe to report to, returns the exit code."""


@dataclass
class Worker:
    pid: int
    pipe: int
    work: Work
    born: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    ready: bool = False


class Supervisor:
    """Runs `workers` processes of `work`, and one of each life `beside` them, until SIGTERM or SIGINT.

    One that dies is replaced, at once unless they keep dying young; one that cannot start ends them all, since the next
    would fail alike.
    """

    def __init__(
        self,
        work: Work,
        *,
        workers: int,
        beside: Sequence[Work] = (),
        grace_s: float,
        on_death: Callable[[int], None],
    ) -> None:
        self._works, self._grace_s, self._on_death = [*beside, *[work] * workers], grace_s, on_death
        self._workers: dict[int, Worker] = {}
        self._due: list[tuple[float, Work]] = []  # when to start those that are missing
        self._short_lives = 0  # in a row
        self._selector = selectors.DefaultSelector()
        self._announced = self._stopping = False
        self._code = 0

    def run(self, on_ready: Callable[[], None]) -> int:
        """Returns the exit code: 0 after a signal, FAILED_START when a worker could not start. Main thread only."""
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_out, False)
        signal.set_wakeup_fd(wake_out)  # a signal ends the wait for the workers
        for number in ENDS:
            signal.signal(number, self._on_signal)
        self._selector.register(wake_in, selectors.EVENT_READ)
        for work in self._works:
            self._start(work)
        while not self._stopping:
            self._listen(wake_in)
            self._kill_silent()
            self._start_due()
            self._announce(on_ready)
        self._end_all(wake_in)
        return self._code

    def _announce(self, on_ready: Callable[[], None]) -> None:
        if self._announced or self._stopping or self._due:
            return
        if all(worker.ready for worker in self._workers.values()):
            self._announced = True
            on_ready()

    def _on_signal(self, *_: object) -> None:
        self._stopping = True

    def _start(self, work: Work) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pipe, report = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # or the parent's handler would run in the fork, and lose them
        pid = os.fork()
        if pid == 0:
            for inherited in (pipe, *self._workers):  # else the parent's death would close no pipe
                os.close(inherited)
            _live(work, report)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        os.close(report)
        self._workers[pipe] = Worker(pid, pipe, work)
        self._selector.register(pipe, selectors.EVENT_READ)

    def _start_due(self) -> None:
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            self._start(due[1])

    def _listen(self, wake: int) -> None:
        for key, _ in self._selector.select(TICK_S):
            message = os.read(key.fd, 4096)
            if key.fd == wake:
                continue
            worker = self._workers[key.fd]
            worker.heard = time.monotonic()
            worker.ready |= READY in message
            if not message:
                self._bury(worker)

    def _kill_silent(self) -> None:
        for worker in self._workers.values():
            if worker.ready and time.monotonic() - worker.heard > SILENCE_S:
                _say(f"worker {worker.pid} hangs")
                os.kill(worker.pid, signal.SIGKILL)
                worker.heard = time.monotonic()

    def _bury(self, worker: Worker) -> None:
        self._selector.unregister(worker.pipe)
        os.close(worker.pipe)
        del self._workers[worker.pipe]
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        self._on_death(worker.pid)
        if self._stopping:
            return
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        if not worker.ready and (code >= 0 or not self._announced):
            _say(f"a worker ended {how} before it was ready: the service stops")
            self._stopping, self._code = True, FAILED_START
        else:
            now = time.monotonic()
            self._short_lives = self._short_lives + 1 if now - worker.born < SHORT_LIFE_S else 0
            wait_s = pause_s(self._short_lives, len(self._works))
            self._due.append((now + wait_s, worker.work))
            _say(f"worker {worker.pid} ended {how} and is replaced" + (f" in {wait_s:g} s" if wait_s else ""))

    def _end_all(self, wake: int) -> None:
        """Asks the workers to end, and makes them after the grace period."""
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        while self._workers and time.monotonic() < deadline:
            self._listen(wake)
        for worker in list(self._workers.values()):
            os.kill(worker.pid, signal.SIGKILL)
            self._bury(worker)


def pause_s(short_lives: int, workers: int) -> float:
    """How long to wait before a worker is replaced, after so many in a row died young: the first time round not at
    all, then ever longer."""
    again = short_lives - workers
    return min(LONGEST_PAUSE_S, 2.0 ** min(again - 1, 10)) if again > 0 else 0.0


def _say(text: str) -> None:
    print(f"faceserve: {text}", file=sys.stderr, flush=True)


def _live(work: Work, report: int) -> None:
    """The forked process from here to its end; never returns into the parent's stack."""
    code = FAILED_START
    try:
        signal.set_wakeup_fd(-1)
        # Until it serves, a worker has nothing to finish; a handler would wait for minutes while TensorRT builds.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes on a SIGTERM
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        code = work(report)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else FAILED_START
    except BaseException:  # noqa: BLE001  nothing may escape into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
