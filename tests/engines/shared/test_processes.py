"""An engine process and workers as processes of their own: right answers, and an end for every call, whoever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

SCRIPT = Path(__file__).with_name("service.py")
PATIENCE_S = 30
SEATS, SLOTS, THREADS = 4, 4, 4
ROUNDS = 2
Count = list[list[int]]


class Service:
    """The parent of `service.py`, which carries out orders."""

    def __init__(self, model: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[3])},
            text=True,
        )

    def __call__(self, do: str, **options: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **options}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def crowd(self) -> None:
        """Workers on all seats, their threads calling at random."""
        for seat in range(SEATS):
            self("work", seat=seat, numbers=[0] * THREADS)

    def wait_for_calls(self, calls: int, *, workers: int) -> None:
        """Until so many calls were asked for in all by so many workers, each of which took its seat's slots over."""
        until(lambda: self("calls")["tickets"] == calls + workers * SLOTS)

    def goes_on(self, seats: Sequence[int] = range(SEATS)) -> None:
        """Waits until every thread of these seats has been answered again."""
        before = {seat: self("counts", seat=seat) for seat in seats}
        until(lambda: all(more_of(0, counts, self("counts", seat=seat)) for seat, counts in before.items()))

    def no_wrong_answers(self) -> bool:
        return all(wrong == 0 for seat in range(SEATS) for _, _, wrong in self("counts", seat=seat))

    def end(self) -> None:
        self.process.communicate(timeout=PATIENCE_S)


def more_of(what: int, before: Count, now: Count) -> bool:
    """Whether each thread counted some more since."""
    return all(later[what] > earlier[what] + 2 for earlier, later in zip(before, now, strict=True))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def service(tiny_model: Path) -> Iterator[Service]:
    service = Service(tiny_model)
    yield service
    service.end()


def test_many_processes_get_their_own_answers(service: Service) -> None:
    service.crowd()
    service("serve")  # the workers wait for it
    service.goes_on()
    service.goes_on()
    assert service.no_wrong_answers()
    for seat in range(SEATS):
        assert service("stop", name=f"worker {seat}") == 0
    assert service("stop", name="server") == 0
    assert service("heavy") == []


def test_batches_form_across_processes(service: Service) -> None:
    service("serve", gated=True)
    for seat in range(SEATS):
        service("work", seat=seat, numbers=[seat + 1])
    service.wait_for_calls(SEATS, workers=SEATS)
    service("release", times=1)
    until(lambda: service("calls")["runs"] == 2)
    first, second = service("runs")
    assert {*first, *second} == set(range(1, SEATS + 1))
    assert len(set(first)) > 1 or len(set(second)) > 1


def test_a_killed_worker_is_forgotten(service: Service) -> None:
    """Under load, by the neighbours and by the next worker on its seat."""
    service("serve")
    service.crowd()
    service.goes_on()
    for _ in range(ROUNDS):
        assert service("kill", name="worker 2") == -9
        service.goes_on((0, 1, 3))
        service("work", seat=2, numbers=[0] * THREADS)
        service.goes_on()
    assert service.no_wrong_answers()
    assert len(service("seated")) == SEATS


def test_a_late_answer_does_not_reach_the_next_worker(service: Service) -> None:
    service("serve", gated=True)
    service("work", seat=0, numbers=[1, 1, 1])
    service.wait_for_calls(3, workers=1)
    until(lambda: service("calls")["taken"] >= 1)
    service("kill", name="worker 0")
    service("work", seat=0, numbers=[7, 8, 9])
    service.wait_for_calls(3, workers=2)  # it has dropped what was asked before
    time.sleep(0.1)
    assert service("seated") == []  # and waits for the run under way, whose answer goes to one of its slots
    service("release", times=1)
    until(lambda: len(service("seated")) == 1 and service("calls")["taken"] >= 1)
    assert [counts[0] for counts in service("counts", seat=0)[:3]] == [0, 0, 0]
    service("release", times=1000)
    until(lambda: all(counts[0] > 5 for counts in service("counts", seat=0)[:3]))
    assert service.no_wrong_answers()
    first, *others = service("runs")
    assert set(first) == {1}
    assert {number for batch in others for number in batch} == {7, 8, 9}


def test_a_killed_engine_process_fails_calls_at_once_and_the_next_one_goes_on(service: Service) -> None:
    service("serve")
    service.crowd()
    service.goes_on()
    for _ in range(ROUNDS):
        assert service("kill", name="server") == -9
        counts = [service("counts", seat=seat) for seat in range(SEATS)]
        until(lambda: all(more_of(1, counts[seat], service("counts", seat=seat)) for seat in range(SEATS)))  # noqa: B023
        service("serve")
        service.goes_on()
    assert service.no_wrong_answers()


def test_an_engine_process_killed_while_it_runs_calls_answers_none_of_them_later(service: Service) -> None:
    service("serve", gated=True)
    service("work", seat=0, numbers=[1, 2, 3])
    service.wait_for_calls(3, workers=1)
    until(lambda: service("calls")["taken"] >= 1)
    service("kill", name="server")
    until(lambda: all(counts[1] for counts in service("counts", seat=0)[:3]))
    service("serve")
    until(lambda: all(counts[0] > 10 for counts in service("counts", seat=0)[:3]))
    assert service.no_wrong_answers()


def test_an_end_under_load_leaves_nobody_waiting(service: Service) -> None:
    service("serve")
    service.crowd()
    service.goes_on()
    assert service("stop", name="server") == 0
    assert [service("stop", name=f"worker {seat}") for seat in range(SEATS)] == [0] * SEATS
    assert service.no_wrong_answers()


def test_nobody_waits_for_an_engine_process_whose_parent_is_gone(service: Service) -> None:
    service("serve", gated=True)
    service("work", seat=0, numbers=[1, 2])
    service.wait_for_calls(2, workers=1)
    service("work", seat=1, numbers=[3])
    server, *_ = left = [psutil.Process(pid) for pid in service("pids")]
    server.suspend()
    service.process.kill()
    service.process.wait()
    server.kill()
    _, alive = psutil.wait_procs(left, timeout=PATIENCE_S)
    assert not alive


def test_a_parent_needs_nothing_heavy() -> None:
    code = "import sys, engines.shared.channel; print({'numpy', 'onnxruntime', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
