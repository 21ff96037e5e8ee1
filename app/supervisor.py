"""Keeps worker processes alive: forks them, hears from them through a pipe each, and ends them gracefully."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

READY, ALIVE = b"R", b"."
"""What a worker writes into its pipe: once when it listens, then every few seconds from its event loop."""
SILENCE_S = 60.0
"""A worker that has not been heard of for so long hangs, and is replaced."""
FAILED_START = 3
"""The exit code of a worker that could not start, and then of the service."""
TICK_S = 1.0

Work = Callable[[int], int]
"""A worker's life, in its own process: takes the pipe to report to, returns the exit code."""


@dataclass
class Worker:
    pid: int
    pipe: int
    heard: float = field(default_factory=time.monotonic)
    ready: bool = False


class Supervisor:
    """Runs `workers` processes of `work` until SIGTERM or SIGINT.

    One that dies is replaced; one that cannot start ends them all, since the next would fail alike.
    """

    def __init__(self, work: Work, *, workers: int, grace_s: float, on_death: Callable[[int], None]) -> None:
        self._work, self._count, self._grace_s, self._on_death = work, workers, grace_s, on_death
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._announced = self._stopping = False
        self._code = 0

    def run(self, on_ready: Callable[[], None]) -> int:
        """Returns the exit code: 0 after a signal, FAILED_START when a worker could not start. Main thread only."""
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_out, False)
        signal.set_wakeup_fd(wake_out)  # a signal ends the wait for the workers
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._selector.register(wake_in, selectors.EVENT_READ)
        for _ in range(self._count):
            self._start()
        while not self._stopping:
            self._listen(wake_in)
            self._kill_silent()
            self._announce(on_ready)
        self._end_all(wake_in)
        return self._code

    def _announce(self, on_ready: Callable[[], None]) -> None:
        if self._announced or self._stopping or not all(worker.ready for worker in self._workers.values()):
            return
        self._announced = True
        on_ready()

    def _on_signal(self, *_: object) -> None:
        self._stopping = True

    def _start(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pipe, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            for inherited in (pipe, *self._workers):  # else the parent's death would close no pipe
                os.close(inherited)
            _live(self._work, report)
        os.close(report)
        self._workers[pipe] = Worker(pid, pipe)
        self._selector.register(pipe, selectors.EVENT_READ)

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
            _say(f"worker {worker.pid} ended {how} and is replaced")
            self._start()

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


def _say(text: str) -> None:
    print(f"faceserve: {text}", file=sys.stderr, flush=True)


def _live(work: Work, report: int) -> None:
    """The forked process from here to its end; never returns into the parent's stack."""
    code = FAILED_START
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until it serves, a worker has nothing to finish
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes on a SIGTERM
        code = work(report)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else FAILED_START
    except BaseException:  # noqa: BLE001  nothing may escape into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
