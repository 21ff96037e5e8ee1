"""Calls that share work: each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gallery.local.turns import Turns, _Call


class Work:
    """Doubles numbers, once the gate is open; refuses 13."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, jobs: Sequence[int]) -> list[int]:
        self.batches.append(list(jobs))
        self.begun.set()
        assert self.gate.wait(30)
        if 13 in jobs:
            raise ValueError("thirteen")
        return [2 * job for job in jobs]


class Locked(Work):
    """Cannot work for anybody."""

    def __call__(self, jobs: Sequence[int]) -> list[int]:
        super().__call__(jobs)
        raise TimeoutError


class Interrupted(threading.Event):
    """Whoever waits for it is interrupted: at once, or just when it is set."""

    def __init__(self, *, is_late: bool) -> None:
        super().__init__()
        self._is_late = is_late

    def wait(self, timeout: float | None = None) -> bool:
        if self._is_late:
            assert super().wait(30)
        raise KeyboardInterrupt


def stand_in_line(turns: Turns[int, int], count: int) -> None:
    while len(turns._line) < count:
        threading.Event().wait(0.001)


def test_those_who_come_meanwhile_share_the_next_batch() -> None:
    work = Work()
    turns = Turns(work, most=4)
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(turns, 0)
        assert work.begun.wait(30)
        others = [pool.submit(turns, job) for job in range(1, 7)]
        stand_in_line(turns, 6)
        work.gate.set()
        assert [first.result(30), *(other.result(30) for other in others)] == [0, 2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in work.batches] == [1, 4, 2]
    assert turns(7) == 14


def test_a_bad_job_fails_alone() -> None:
    work = Work()
    turns = Turns(work)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(turns, 0)
        assert work.begun.wait(30)
        others = {job: pool.submit(turns, job) for job in (1, 13, 2)}
        stand_in_line(turns, 3)
        work.gate.set()
        assert first.result(30) == 0
        assert (others[1].result(30), others[2].result(30)) == (2, 4)
        with pytest.raises(ValueError, match="thirteen"):
            others[13].result(30)
    assert turns(3) == 6


def test_so_many_work_at_a_time() -> None:
    work = Work()
    turns = Turns(work, at_once=2)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(turns, job) for job in range(3)]
        stand_in_line(turns, 1)
        work.gate.set()
        assert [call.result(30) for call in calls] == [0, 2, 4]
    assert sorted(map(len, work.batches)) == [1, 1, 1]


def test_an_error_that_is_everybodys_is_met_once_by_all() -> None:
    work = Locked()
    turns = Turns(work, everybodys=(TimeoutError,))
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(turns, 0)]
        assert work.begun.wait(30)
        calls += [pool.submit(turns, job) for job in (1, 2, 3)]
        stand_in_line(turns, 3)
        work.gate.set()
        assert [type(call.exception(30)) for call in calls] == [TimeoutError] * 4
    assert [len(batch) for batch in work.batches] == [1, 3]


@pytest.mark.parametrize("is_late", [False, True])
def test_one_that_is_interrupted_in_line_holds_up_nobody(monkeypatch: pytest.MonkeyPatch, *, is_late: bool) -> None:
    work = Work()
    turns = Turns(work, most=1)
    init = _Call.__init__

    def interrupted(self: _Call[int, int], job: int) -> None:
        init(self, job)
        if job == 1:
            self.woken = Interrupted(is_late=is_late)

    monkeypatch.setattr(_Call, "__init__", interrupted)
    results: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda job=job: results.update({job: turns(job)}), daemon=True) for job in (0, 2)
    ]

    def ends() -> None:
        with pytest.raises(KeyboardInterrupt):
            turns(1)

    threads.insert(1, threading.Thread(target=ends, daemon=True))
    for number, thread in enumerate(threads):
        thread.start()
        assert work.begun.wait(30)
        if number == 1 and not is_late:
            thread.join(30)
        else:
            stand_in_line(turns, min(number, 1 + is_late))
    work.gate.set()
    for thread in threads:
        thread.join(5)
    assert results == {0: 0, 2: 4}
    assert turns(3) == 6
