"""An engine process and workers that come, go and replace each other, in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from numpy.typing import NDArray

from engines.base import DeviceLostError, EngineClosedError, EngineError
from engines.shared.channel import ANSWERED, ASKED, EPOCH, LANES, ROWS, STOP, TAKEN, Channel
from engines.shared.client import Seat
from engines.shared.server import EngineServer
from tests.engines.rows import PATIENCE_S, RowEngine, answers_to, call, in_background, until
from tests.engines.shared.line import SEATS, SLOTS, Line


def test_closing_answers_what_was_asked_and_refuses_the_rest(line: Callable[..., Line]) -> None:
    queue = line(max_batch_size=2)
    answers = [queue.begin(0)] + [queue.start(number, seat=number % 2) for number in range(1, 5)]

    def close() -> dict[str, NDArray[Any]]:
        queue.server.close()
        return {}

    closing = in_background(close)
    queue.gate.release(100)
    closing.result(PATIENCE_S)
    assert all(answers_to(answer.result(PATIENCE_S), number) for number, answer in enumerate(answers))
    with pytest.raises(DeviceLostError, match="started again"):
        queue.engine(0).run(call(1))
    assert not queue.seats[0].is_serving()
    queue.server = EngineServer(queue.channel, {"row": RowEngine(max_batch_size=2)})
    assert answers_to(queue.engine(0).run(call(1)), 1)
    assert queue.engine(0).fault is None


def test_a_server_with_other_engines_is_a_fault(line: Callable[..., Line]) -> None:
    queue = line()
    queue.server.close()
    queue.server = EngineServer(queue.channel, {"row": RowEngine(max_batch_size=3)})
    assert "other engines" in str(queue.engine(0).fault)
    with pytest.raises(DeviceLostError, match="other engines"):
        queue.engine(0).run(call(1))
    assert answers_to(Seat(queue.channel, 0).engines["row"].run(call(1)), 1)


def test_what_a_slot_held_before_does_not_touch_what_it_holds_now(line: Callable[..., Line]) -> None:
    """The pipe may still hold a call of a worker that died, when its successor's is run."""
    queue = line(concurrency=2)
    answer = queue.begin(1)
    slot = next(number for number, words in enumerate(queue.channel.words) if words[TAKEN] != words[ANSWERED])
    ticket = queue.channel.words[slot][TAKEN]
    queue.channel.ask(0, slot, ticket - 1)
    after = queue.start(2)
    until(lambda: queue.inner.batches == [[1], [2]])
    assert queue.channel.words[slot][TAKEN] == ticket
    queue.gate.release(100)
    assert answers_to(answer.result(PATIENCE_S), 1)
    assert answers_to(after.result(PATIENCE_S), 2)


def test_a_call_meant_for_another_engine_process_is_not_run(line: Callable[..., Line]) -> None:
    queue = line()
    words = queue.channel.words[0]
    words[ASKED], words[EPOCH], words[ROWS] = words[ASKED] + 1, queue.channel.epoch + 2, 1
    queue.channel.ask(0, 0, words[ASKED])
    answer = queue.start(2, seat=1)
    queue.gate.release(100)
    assert answers_to(answer.result(PATIENCE_S), 2)
    assert queue.inner.batches == [[2]]


def test_a_server_is_not_ended_by_what_was_told_the_last_one() -> None:
    channel = Channel(seats=1, slots=1)
    channel.ask(0, STOP, 0)
    server = EngineServer(channel, {"row": RowEngine()})
    engine = Seat(channel, 0).engines["row"]
    assert answers_to(in_background(partial(engine.run, call(1))).result(PATIENCE_S), 1)
    server.close()
    channel.close()


def test_a_closed_worker_s_engine_leaves_the_others_theirs(line: Callable[..., Line]) -> None:
    queue = line()
    queue.gate.release(100)
    queue.engine(0).close()
    with pytest.raises(EngineClosedError):
        queue.engine(0).run(call(1))
    assert answers_to(queue.engine(1).run(call(1)), 1)


def test_the_seated_are_counted(line: Callable[..., Line]) -> None:
    queue = line()
    assert queue.channel.workers() == [os.getpid()] * SEATS
    queue.seats[0].leave()
    assert queue.channel.workers() == [os.getpid()]


def test_a_worker_reads_what_the_process_says_of_itself() -> None:
    channel = Channel(seats=1, slots=1)
    inner = RowEngine(max_batch_size=7)
    server = EngineServer(channel, {"first": inner, "second": RowEngine()}, about={"why": "as set"})
    seat = Seat(channel, 0)
    assert seat.about == {"why": "as set"}
    assert list(seat.engines) == ["first", "second"]
    engine = seat.engines["first"]
    assert (engine.inputs, engine.outputs) == (inner.inputs, inner.outputs)
    assert engine.max_batch_size == 7
    assert dict(engine.description) == inner.description
    server.close()
    channel.close()


def test_a_slot_in_the_hands_of_a_process_that_nobody_replaces_is_not_used_again(line: Callable[..., Line]) -> None:
    """The late answer to its last call would be taken for the next one's."""
    queue = line()
    answers = [queue.start(number) for number in range(SLOTS)]
    until(lambda: len(queue.inner.batches) == 1)
    queue.channel.parent = 0
    lost = [answer.exception(PATIENCE_S) for answer in answers]
    assert {type(error) for error in lost} == {DeviceLostError, EngineClosedError}
    after = [in_background(partial(queue.engine(0).run, call(9))) for _ in range(SLOTS)]
    assert all(isinstance(answer.exception(PATIENCE_S), DeviceLostError) for answer in after)
    held = [words for words in queue.channel.words if words[TAKEN] != words[ANSWERED]]
    assert [words[ASKED] - words[TAKEN] for words in held] == [1]  # dropped, and no more


def test_an_engine_s_fault_is_the_server_s(line: Callable[..., Line]) -> None:
    queue = line()
    queue.inner.fault = "the GPU fell off the bus"
    assert queue.server.fault == "the GPU fell off the bus"
    assert queue.engine(0).fault is None  # for its worker need not be replaced


def test_a_run_under_way_is_timed(line: Callable[..., Line]) -> None:
    queue = line()
    assert queue.server.longest_run_s == 0
    answer = queue.begin(1)
    until(lambda: queue.server.longest_run_s > 0)
    queue.gate.release(100)
    answer.result(PATIENCE_S)
    until(lambda: queue.server.longest_run_s == 0)


def test_a_worker_too_many_is_refused(line: Callable[..., Line]) -> None:
    with pytest.raises(EngineError, match=f"{SEATS} seats, and none for worker {SEATS}"):
        Seat(line().channel, SEATS)


def test_too_many_engines_or_seats_are_refused() -> None:
    channel = Channel(seats=1, slots=1)
    with pytest.raises(ValueError, match=f"{LANES} lanes, and {LANES + 1}"):
        EngineServer(channel, {str(number): RowEngine() for number in range(LANES + 1)})
    channel.close()
    with pytest.raises(ValueError, match="seats, not 0"):
        Channel(seats=0, slots=1)


def test_what_was_taken_counts_as_answered_once_the_server_is_lost() -> None:
    channel = Channel(seats=1, slots=1)
    channel.words[0][TAKEN] = 5
    channel.lose()
    assert channel.words[0][TAKEN] == 0
    channel.close()
