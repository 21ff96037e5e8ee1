"""Calls that meet in a BatchingEngine: joined, answered each with its own rows, and nobody left waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.base import CancelledError, EngineBusyError, EngineClosedError, Tensors, cancellation
from engines.batching import BatchingEngine
from engines.onnxruntime import OnnxRuntimeEngine
from tests.engines.rows import PATIENCE_S, POISON, RowEngine, answers_to, call, in_background, until

if TYPE_CHECKING:
    from tests.engines.conftest import Line


def test_a_lone_call_runs_at_once_and_gets_the_engine_s_own_arrays() -> None:
    class Remembering(RowEngine):
        def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
            self.last = super().run(feeds)
            return self.last

    inner = Remembering()
    outputs = BatchingEngine(inner).run(call(3, 4))
    assert answers_to(outputs, 3, 4)
    assert all(outputs[name] is array for name, array in inner.last.items())


def test_what_waits_is_joined_in_order(line: Callable[..., Line]) -> None:
    sizes: list[int] = []
    queue = line(max_batch_size=4, on_batch=sizes.append)
    answers = [queue.start(number) for number in range(7)]
    assert queue.inner.batches == [[0]]
    assert queue.engine.waiting == 6
    queue.release()
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    assert queue.inner.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert sizes == [1, 4, 2]
    assert queue.engine.waiting == 0


def test_calls_of_several_rows_stay_whole(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=4)
    calls = [(0,), (1, 2, 3), (4, 5), (6, 7), (8,), (9, 10, 11, 12)]
    answers = [queue.start(*numbers) for numbers in calls]
    queue.release()
    assert all(answers_to(answer.result(PATIENCE_S), *numbers) for numbers, answer in zip(calls, answers, strict=True))
    assert queue.inner.batches == [[0], [1, 2, 3], [4, 5, 6, 7], [8], [9, 10, 11, 12]]


def test_joined_outputs_are_each_caller_s_own(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=4)
    answers = [queue.start(number) for number in range(4)]
    queue.release()
    _, *joined = [answer.result(PATIENCE_S) for answer in answers]
    for number, outputs in enumerate(joined, start=1):
        for array in outputs.values():
            assert array.flags.owndata
            assert array.flags.writeable
            assert array.flags.c_contiguous
            array[:] = -1
        assert all(answers_to(other, index) for index, other in enumerate(joined[number:], start=number + 1))


def test_a_free_slot_is_used_at_once(line: Callable[..., Line]) -> None:
    queue = line(concurrency=2, max_batch_size=4)
    answers = [queue.start(number) for number in range(4)]
    assert sorted(queue.inner.batches) == [[0], [1]]
    queue.release()
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    assert queue.inner.most_at_once == 2


def test_one_bad_call_fails_alone(line: Callable[..., Line]) -> None:
    sizes: list[int] = []
    queue = line(max_batch_size=4, on_batch=sizes.append)
    answers = [queue.start(number) for number in (0, 1, POISON, 2)]
    queue.release()
    for number, answer in ((0, answers[0]), (1, answers[1]), (2, answers[3])):
        assert answers_to(answer.result(PATIENCE_S), number)
    with pytest.raises(ValueError, match="poisoned"):
        answers[2].result(PATIENCE_S)
    assert queue.inner.batches == [[0], [1, POISON, 2], [1], [POISON], [2]]
    assert sizes == [1, 1, 1]
    assert answers_to(queue.engine.run(call(5)), 5)


def test_a_bad_leader_hands_its_slot_on(line: Callable[..., Line]) -> None:
    queue = line()
    bad, good = queue.start(POISON), queue.start(1)
    queue.release()
    with pytest.raises(ValueError, match="poisoned"):
        bad.result(PATIENCE_S)
    assert answers_to(good.result(PATIENCE_S), 1)


def test_the_line_is_bounded(line: Callable[..., Line]) -> None:
    queue = line(max_waiting=2)
    answers = [queue.start(number) for number in range(3)]
    with pytest.raises(EngineBusyError, match="2 calls wait"):
        queue.engine.run(call(9))
    queue.release()
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    assert answers_to(queue.engine.run(call(9)), 9)


@pytest.mark.parametrize("gone", [{1}, {2}, {1, 2, 3}, {3}])
def test_callers_who_left_are_skipped(line: Callable[..., Line], gone: set[int]) -> None:
    """Whether they stood at the head of the line, to be the next to lead, or behind it."""
    queue = line(max_batch_size=4)
    left = threading.Event()
    answers = [queue.start(number, is_cancelled=left.is_set if number in gone else None) for number in range(4)]
    left.set()
    queue.release()
    for number, answer in enumerate(answers):
        if number in gone:
            with pytest.raises(CancelledError):
                answer.result(PATIENCE_S)
        else:
            assert answers_to(answer.result(PATIENCE_S), number)
    assert not {number for batch in queue.inner.batches for number in batch} & gone
    assert answers_to(queue.engine.run(call(9)), 9)


def test_the_room_of_a_caller_who_left_goes_to_the_next(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=2)
    answers = [queue.start(0), queue.start(1, is_cancelled=lambda: True), queue.start(2), queue.start(3)]
    queue.release()
    with pytest.raises(CancelledError):
        answers[1].result(PATIENCE_S)
    assert answers_to(answers[3].result(PATIENCE_S), 3)
    assert queue.inner.batches == [[0], [2, 3]]


def test_a_flag_that_raises_fails_its_own_call_only(line: Callable[..., Line]) -> None:
    def broken() -> bool:
        raise OSError("no flag")

    queue = line()
    answers = [queue.start(0), queue.start(1), queue.start(2, is_cancelled=broken), queue.start(3)]
    queue.release()
    with pytest.raises(OSError, match="no flag"):
        answers[2].result(PATIENCE_S)
    assert all(answers_to(answers[number].result(PATIENCE_S), number) for number in (0, 1, 3))


def test_an_observer_that_raises_loses_no_answer(line: Callable[..., Line], caplog: pytest.LogCaptureFixture) -> None:
    def broken(_rows: int) -> None:
        raise OSError("no metrics")

    queue = line(max_batch_size=4, on_batch=broken)
    answers = [queue.start(number) for number in (0, 1, POISON, 2)]
    queue.release()
    with pytest.raises(ValueError, match="poisoned"):
        answers[2].result(PATIENCE_S)
    for number, answer in ((0, answers[0]), (1, answers[1]), (2, answers[3])):
        assert answers_to(answer.result(PATIENCE_S), number)
    assert "no metrics" in caplog.text


def test_closing_answers_those_who_wait_and_refuses_others(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=2, max_waiting=4)
    answers = [queue.start(number) for number in range(5)]

    def closed() -> bool:
        """The line is full, so this call never waits: it is refused for one reason or the other."""
        with pytest.raises((EngineBusyError, EngineClosedError)) as refusal:
            queue.engine.run(call(9))
        return isinstance(refusal.value, EngineClosedError)

    def close() -> dict[str, NDArray[Any]]:
        queue.engine.close()
        return {}

    closing = [in_background(close) for _ in range(2)]
    until(closed)
    assert not queue.inner.closed.is_set()
    queue.release()
    for closer in closing:
        closer.result(PATIENCE_S)
    assert queue.inner.closed.is_set()
    until(lambda: all(answer.done() for answer in answers))
    assert all(answers_to(answer.result(), number) for number, answer in enumerate(answers))


CALLS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 200) | st.just(POISON), min_size=1, max_size=4),
        st.sampled_from(["stays", "stays", "stays", "leaves"]),
    ),
    min_size=1,
    max_size=24,
)


@settings(max_examples=60)
@given(calls=CALLS, concurrency=st.integers(1, 3), max_batch_size=st.integers(4, 8))
def test_any_crowd_is_answered_rightly(
    calls: list[tuple[list[int], str]],
    concurrency: int,
    max_batch_size: int,
) -> None:
    inner = RowEngine(max_batch_size=max_batch_size, concurrency=concurrency)
    engine = BatchingEngine(inner)

    def run(numbers: list[int], mood: str) -> dict[str, NDArray[Any]]:
        with cancellation(lambda: mood == "leaves"):
            return engine.run(call(*numbers))

    answers = [in_background(partial(run, *each)) for each in calls]
    for (numbers, mood), answer in zip(calls, answers, strict=True):
        error = answer.exception(PATIENCE_S)
        if mood == "leaves":
            assert isinstance(error, CancelledError)
        elif POISON in numbers:
            assert isinstance(error, ValueError)
        else:
            assert error is None
            assert answers_to(answer.result(), *numbers)
    assert inner.most_at_once <= concurrency
    assert all(len(batch) <= max_batch_size for batch in inner.batches)
    assert engine.waiting == 0
    engine.close()


def test_many_threads_over_a_network_get_their_own_rows(tiny_model: Path) -> None:
    rows_run: list[int] = []
    engine = BatchingEngine(OnnxRuntimeEngine(tiny_model, concurrency=2, max_batch_size=8), on_batch=rows_run.append)

    def client(seed: int) -> int:
        random = np.random.default_rng(seed)
        rows = 0
        for _ in range(200):
            numbers = random.integers(0, 255, random.integers(1, 5)).tolist()
            assert answers_to(engine.run(call(*numbers)), *numbers)
            rows += len(numbers)
        return rows

    with ThreadPoolExecutor(16) as pool:
        sent = sum(pool.map(client, range(16)))
    assert sum(rows_run) == sent
    assert max(rows_run) <= 8
    engine.close()
