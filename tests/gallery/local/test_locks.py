"""Readers together, a writer alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gallery.local.locks import ReadWriteLock

PATIENCE_S = 10


def started(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_readers_are_inside_together() -> None:
    lock, inside = ReadWriteLock(), threading.Barrier(3, timeout=PATIENCE_S)

    def read() -> None:
        with lock.read():
            inside.wait()

    threads = [started(read) for _ in range(3)]
    for thread in threads:
        thread.join()
    assert not inside.broken


def test_a_writer_is_never_inside_with_anybody() -> None:
    lock, state = ReadWriteLock(), {"readers": 0, "writers": 0}
    wrong: list[dict[str, int]] = []
    guard = threading.Lock()

    def change(what: str, by: int) -> None:
        with guard:
            state[what] += by
            if state["writers"] > 1 or (state["writers"] and state["readers"]):
                wrong.append(dict(state))

    def read() -> None:
        for _ in range(300):
            with lock.read():
                change("readers", 1)
                change("readers", -1)

    def write() -> None:
        for _ in range(300):
            with lock.write():
                change("writers", 1)
                change("writers", -1)
                lock.downgrade()
                change("readers", 1)
                change("readers", -1)

    threads = [started(each) for each in (read, write, read, write)]
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_waiting_writer_goes_before_new_readers() -> None:
    lock, order = ReadWriteLock(), list[str]()
    waits = threading.Event()

    def write() -> None:
        waits.set()
        with lock.write():
            order.append("writer")

    def read() -> None:
        with lock.read():
            order.append("reader")

    with lock.read():
        writer = started(write)
        waits.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while not lock._waiting and time.monotonic() < deadline:
            time.sleep(0.001)
        reader = started(read)
    writer.join()
    reader.join()
    assert order == ["writer", "reader"]


def test_after_a_downgrade_readers_come_in_but_no_writer() -> None:
    lock, order = ReadWriteLock(), list[str]()
    came = threading.Event()

    def read() -> None:
        with lock.read():
            order.append("reader")
            came.set()

    def write() -> None:
        with lock.write():
            order.append("second writer")

    with lock.write():
        lock.downgrade()
        reader = started(read)
        assert came.wait(PATIENCE_S)
        writer = started(write)
        order.append("first writer still inside")
    reader.join()
    writer.join()
    assert order == ["reader", "first writer still inside", "second writer"]
