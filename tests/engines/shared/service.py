"""A light parent of an engine process and of workers, in the hands of a test: `service.py MODEL`.

Each line of JSON on standard input is an order, carried out and answered by a line: see ORDERS. The engine is the tiny
network of the tests in ONNX Runtime; with `gated` each of its runs first waits for a `release` and is listed in
`runs`. A worker's threads call it without end, each with rows of its own number (or of random ones), and count in
shared memory what became of their calls.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from engines.shared.channel import ANSWERED, ASKED, TAKEN, Channel

SEATS, SLOTS = 4, 4
ANSWERS, LOSSES, WRONG = 0, 1, 2
CHANNEL = Channel(seats=SEATS, slots=SLOTS)
GATE, RUNS = os.pipe(), os.pipe()
COUNTS = memoryview(mmap.mmap(-1, 4096)).cast("I")
"""For each thread of each seat: right answers, calls that were lost, and whatever else came."""
PROCESSES: dict[str, int] = {}
RUNS_READ: list[list[int]] = []


def serve(*, gated: bool) -> None:
    from numpy.typing import NDArray

    from engines.base import Tensors
    from engines.onnxruntime import OnnxRuntimeEngine
    from engines.shared.server import EngineServer

    class Gated(OnnxRuntimeEngine):
        def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
            os.write(RUNS[1], json.dumps(feeds["rows"][:, 0].tolist()).encode() + b"\n")
            os.read(GATE[0], 1)
            return super().run(feeds)

    from pathlib import Path

    engine = (Gated if gated else OnnxRuntimeEngine)(Path(sys.argv[1]), max_batch_size=8, concurrency=1 + (not gated))
    server = EngineServer(CHANNEL, {"tiny": engine})
    wait_for_the_end()
    server.close()
    engine.close()


def work(*, seat: int, numbers: list[int]) -> None:
    """One thread for each number; 0 is for random ones."""
    import numpy as np

    from engines.base import DeviceLostError
    from engines.shared.client import Seat

    place = Seat(CHANNEL, seat)
    engine = place.engines["tiny"]
    ending = threading.Event()

    def call(number: int) -> int:
        rows = np.random.default_rng().integers(0, 255, (random.randint(1, 3), 4), np.uint8)
        if number:
            rows = np.full((1, 4), number, np.uint8)
        try:
            outputs = engine.run({"rows": rows})
        except DeviceLostError:
            time.sleep(0.002)
            return LOSSES
        right = (outputs["doubled"] == rows.astype(np.float32) * 2).all() and (outputs["total"] == rows.sum(1)).all()
        return ANSWERS if right else WRONG

    def call_on(thread: int, number: int) -> None:
        while not ending.is_set() and not CHANNEL.orphaned:
            became = WRONG
            try:
                became = call(number)
            finally:
                COUNTS[count_at(seat, thread, became)] += 1

    threads = [threading.Thread(target=call_on, args=each) for each in enumerate(numbers)]
    for thread in threads:
        thread.start()
    wait_for_the_end()
    ending.set()
    for thread in threads:
        thread.join()
    place.leave()


def wait_for_the_end() -> None:
    while not CHANNEL.orphaned and not signal.sigtimedwait([signal.SIGTERM], 0.05):
        pass


def count_at(seat: int, thread: int, what: int) -> int:
    return (seat * SLOTS + thread) * 3 + what


def start(name: str, life: Callable[..., None], **options: Any) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            life(**options)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    PROCESSES[name] = pid


def end(name: str, how: int) -> int:
    """The exit code; negative for a signal's number."""
    pid = PROCESSES.pop(name)
    os.kill(pid, how)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if name == "server":
        CHANNEL.lose()
    return code


def counts(seat: int) -> list[list[int]]:
    """Of each thread: right answers, losses, other ends."""
    return [COUNTS[count_at(seat, thread, 0) : count_at(seat, thread, 3)].tolist() for thread in range(SLOTS)]


def calls() -> dict[str, int]:
    """How many tickets were given out, how many calls are in the engine process's hands, and how many runs it began."""
    RUNS_READ.extend(_new_runs())
    return {
        "tickets": sum(words[ASKED] for words in CHANNEL.words),
        "taken": sum(words[TAKEN] != words[ANSWERED] for words in CHANNEL.words),
        "runs": len(RUNS_READ),
    }


def runs() -> list[list[int]]:
    """The numbers of the rows of each run, as far as it was gated."""
    RUNS_READ.extend(_new_runs())
    return RUNS_READ


def _new_runs() -> list[list[int]]:
    os.set_blocking(RUNS[0], False)
    try:
        return [json.loads(line) for line in os.read(RUNS[0], 65536).splitlines()]
    except BlockingIOError:
        return []


ORDERS: dict[str, Callable[..., Any]] = {
    "serve": lambda gated=False: start("server", serve, gated=gated),
    "work": lambda seat, numbers: start(f"worker {seat}", work, seat=seat, numbers=numbers),
    "kill": lambda name: end(name, signal.SIGKILL),
    "stop": lambda name: end(name, signal.SIGTERM),
    "release": lambda times: os.write(GATE[1], b"." * times),
    "counts": counts,
    "calls": calls,
    "runs": runs,
    "seated": lambda: [pid for pid in CHANNEL.workers() if pid in PROCESSES.values()],
    "pids": lambda: list(PROCESSES.values()),
    "heavy": lambda: sorted({"numpy", "onnxruntime"} & set(sys.modules)),
}

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(ORDERS[order.pop("do")](**order)), flush=True)
    for name in list(PROCESSES):
        end(name, signal.SIGKILL)
