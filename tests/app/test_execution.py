"""Admission, the deadline, the client that leaves, and the order of results."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from app.errors import DeadlineError, OverloadedError
from app.execution import Admission, ClientGoneError, Execution, TimeLimit
from engines.base import current_cancellation


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def leaves() -> Message:
    await asyncio.sleep(0.03)
    return {"type": "http.disconnect"}


@pytest.fixture
def execution() -> Iterator[Execution]:
    execution = Execution(threads=4, max_pending=2, timeout_s=0.2)
    yield execution
    execution.close()


def returning(value: Any) -> Callable[[float], Any]:
    return lambda waited_ms: value


def test_the_counter_at_the_door() -> None:
    admission = Admission(2)
    with admission, admission:
        with pytest.raises(OverloadedError, match="2 requests"), admission:
            pass
        assert admission.pending == 2
    assert admission.pending == 0


def test_a_request_that_fails_leaves_the_count_right() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(KeyError), admission:
            raise KeyError


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(), st.text(max_size=3)), min_size=1, max_size=30))
def test_results_come_in_the_order_of_the_jobs(values: list[Any]) -> None:
    of_three = Execution(threads=3, max_pending=1, timeout_s=5)
    try:
        assert asyncio.run(of_three.each(stays, [returning(value) for value in values])) == values
    finally:
        of_three.close()


def test_a_job_that_fails_fails_alone(execution: Execution) -> None:
    def fail(waited_ms: float) -> int:
        raise KeyError("mine")

    first, second, third = asyncio.run(execution.each(stays, [returning(1), fail, returning(3)]))
    assert (first, repr(second), third) == (1, "KeyError('mine')", 3)
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(execution.one(stays, fail))


def test_a_job_is_told_how_long_it_waited(execution: Execution) -> None:
    waited_ms = asyncio.run(execution.one(stays, lambda waited_ms: waited_ms))
    assert 0 <= waited_ms < 5000


def test_a_batch_leaves_threads_to_its_neighbours() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def block(waited_ms: float) -> None:
        begun.release()
        assert go_on.wait(10)

    async def run() -> Any:
        batch = asyncio.create_task(of_two.each(stays, [block] * 10))
        await asyncio.to_thread(begun.acquire)
        neighbour = await of_two.one(stays, returning("at once"))
        go_on.set()
        await batch
        return neighbour

    of_two = Execution(threads=2, max_pending=2, timeout_s=10)
    try:
        assert asyncio.run(run()) == "at once"
    finally:
        of_two.close()


@pytest.mark.parametrize(("receive", "error"), [(stays, DeadlineError), (leaves, ClientGoneError)])
def test_what_runs_is_told_to_stop_and_what_waits_is_dropped(
    execution: Execution, receive: Any, error: type[Exception]
) -> None:
    ran: list[int] = []
    stopped = threading.Event()

    def job(number: int) -> Callable[[float], None]:
        def work(waited_ms: float) -> None:
            ran.append(number)
            is_cancelled = current_cancellation()
            deadline = time.monotonic() + 10
            while not is_cancelled() and time.monotonic() < deadline:
                time.sleep(0.005)
            if is_cancelled():
                stopped.set()

        return work

    with pytest.raises(error):
        asyncio.run(execution.each(receive, [job(number) for number in range(10)]))
    assert stopped.wait(5)
    execution.close()
    assert sorted(ran) == [0, 1]  # half of the threads


def test_a_deadline_shorter_than_the_patience() -> None:
    execution = Execution(threads=1, max_pending=1, timeout_s=0.001)
    go_on = threading.Event()
    with pytest.raises(DeadlineError):
        asyncio.run(execution.one(stays, lambda waited_ms: go_on.wait(10)))
    go_on.set()
    execution.close()


def test_a_time_limit_lets_other_cancellations_through() -> None:
    async def run() -> None:
        with TimeLimit(10, TimeoutError):
            await asyncio.sleep(10)

    async def cancel() -> None:
        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


def test_after_a_time_limit_the_task_goes_on() -> None:
    async def run() -> str:
        with pytest.raises(KeyError), TimeLimit(0.01, KeyError):
            await asyncio.sleep(10)
        await asyncio.sleep(0)
        return "went on"

    assert asyncio.run(run()) == "went on"
