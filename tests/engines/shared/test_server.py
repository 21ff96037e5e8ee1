"""Calls of several workers that meet in an engine process: joined, and each answered with its own rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial

import pytest

from engines.base import CancelledError
from engines.shared.channel import LEFT
from tests.engines.rows import PATIENCE_S, POISON, answers_to, call, in_background, until
from tests.engines.shared.line import SLOTS, Line


def test_calls_of_all_workers_are_joined(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=4)
    answers = [queue.begin(0)] + [queue.start(number, seat=number % 2) for number in range(1, 7)]
    queue.gate.release(100)
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    assert [len(batch) for batch in queue.inner.batches] == [1, 4, 2]
    assert queue.batches_told == [("row", 1), ("row", 4), ("row", 2)]


def test_calls_of_several_rows_stay_whole_and_in_order(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=4)
    calls = [(0,), (1, 2, 3), (4, 5), (6, 7), (8,), (9, 10, 11, 12)]
    answers = [queue.begin(0)] + [queue.start(*numbers, seat=index % 2) for index, numbers in enumerate(calls[1:])]
    queue.gate.release(100)
    assert all(answers_to(answer.result(PATIENCE_S), *numbers) for numbers, answer in zip(calls, answers, strict=True))
    assert queue.inner.batches == [[0], [1, 2, 3], [4, 5, 6, 7], [8], [9, 10, 11, 12]]


def test_so_many_runs_at_once_as_the_engine_runs_well(line: Callable[..., Line]) -> None:
    queue = line(concurrency=2, max_batch_size=1)
    answers = [queue.start(number, seat=number % 2) for number in range(5)]
    until(lambda: len(queue.inner.batches) == 2)
    queue.gate.release(100)
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    assert queue.inner.most_at_once == 2


def test_one_bad_call_fails_alone(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=4)
    answers = [queue.begin(0)] + [queue.start(number, seat=number % 2) for number in (1, POISON, 2)]
    queue.gate.release(100)
    for number, answer in ((0, answers[0]), (1, answers[1]), (2, answers[3])):
        assert answers_to(answer.result(PATIENCE_S), number)
    with pytest.raises(ValueError, match="a poisoned row"):
        answers[2].result(PATIENCE_S)
    assert queue.inner.batches == [[0], [1, POISON, 2], [1], [POISON], [2]]
    assert answers_to(queue.engine(0).run(call(5)), 5)


def test_all_are_answered_though_nobody_can_be_told(line: Callable[..., Line]) -> None:
    class Full(list[tuple[str, int]]):
        def append(self, _: tuple[str, int]) -> None:
            raise OSError("the disk is full")

    queue = line(max_batch_size=4)
    queue.batches_told = Full()
    answers = [queue.begin(0)] + [queue.start(number, seat=number % 2) for number in (1, POISON, 2)]
    queue.gate.release(100)
    for number, answer in ((0, answers[0]), (1, answers[1]), (2, answers[3])):
        assert answers_to(answer.result(PATIENCE_S), number)
    with pytest.raises(ValueError, match="a poisoned row"):
        answers[2].result(PATIENCE_S)


@pytest.mark.parametrize("gone", [{1}, {2}, {1, 2, 3}, {3}])
def test_callers_who_left_are_skipped(line: Callable[..., Line], gone: set[int]) -> None:
    queue = line(max_batch_size=4)
    left = threading.Event()
    answers = [queue.begin(0)]
    for number in (1, 2, 3):
        flag = left.is_set if number in gone else lambda: False
        answers.append(queue.start(number, seat=number % 2, is_cancelled=flag))
    left.set()
    until(lambda: sum(words[LEFT] for words in queue.channel.words) == len(gone))
    queue.gate.release(100)
    for number, answer in enumerate(answers):
        if number in gone:
            with pytest.raises(CancelledError):
                answer.result(PATIENCE_S)
        else:
            assert answers_to(answer.result(PATIENCE_S), number)
    assert not {number for batch in queue.inner.batches for number in batch} & gone
    assert answers_to(queue.engine(0).run(call(9)), 9)


def test_a_flag_that_raises_fails_its_own_call_only(line: Callable[..., Line]) -> None:
    def broken() -> bool:
        raise OSError("no flag")

    queue = line(max_batch_size=4)
    answers = [queue.begin(0), queue.start(1, is_cancelled=broken), queue.start(2)]
    with pytest.raises(OSError, match="no flag"):
        answers[1].result(PATIENCE_S)
    queue.gate.release(100)
    assert all(answers_to(answers[number].result(PATIENCE_S), number) for number in (0, 2))
    assert queue.inner.batches == [[0], [2]]


def test_a_caller_whose_flag_fails_leaves_the_slot_once_its_run_is_over(line: Callable[..., Line]) -> None:
    def broken() -> bool:
        raise OSError("no flag")

    queue = line()
    answer = queue.start(1, is_cancelled=broken)
    until(lambda: queue.inner.batches == [[1]])
    with pytest.raises(FutureTimeoutError):
        answer.result(0.2)  # the engine still reads its rows
    queue.gate.release(100)
    with pytest.raises(OSError, match="no flag"):
        answer.result(PATIENCE_S)


def test_more_callers_than_slots_take_turns(line: Callable[..., Line]) -> None:
    queue = line()
    answers = [in_background(partial(queue.engine(0).run, call(number))) for number in range(3 * SLOTS)]
    queue.gate.release(1000)
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
