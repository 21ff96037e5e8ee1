"""The lock file: one holder among threads and processes, nothing left of one that was killed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen

import pytest

from engines.file_lock import file_lock, is_locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
StartWorker = Callable[..., Popen[str]]


def test_one_holder_at_a_time_and_nothing_left(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    assert not is_locked(lock)
    with file_lock(lock) as held:
        assert held
        assert is_locked(lock)
        with file_lock(lock, wait=False) as also:
            assert not also
        assert is_locked(lock)
        with file_lock(tmp_path / "b.lock", wait=False) as other:
            assert other
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with pytest.raises(ZeroDivisionError), file_lock(lock):
        _ = 1 / 0
    with file_lock(lock, wait=False) as held:
        assert held


def test_what_a_killed_holder_left_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.touch()
    assert not is_locked(lock)
    with file_lock(lock, wait=False) as held:
        assert held
    assert not lock.exists()


def test_threads_and_processes_take_turns(tmp_path: Path, plan_worker: StartWorker) -> None:
    number, lock = tmp_path / "number", tmp_path / "number.lock"
    number.write_text("0")
    processes = [plan_worker(tmp_path, "count") for _ in range(2)]

    def count(_: int) -> None:
        for _ in range(50):
            with file_lock(lock):
                number.write_text(str(int(number.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert [process.wait() for process in processes] == [0, 0]
    assert number.read_text() == "400"
    assert not lock.exists()


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), file_lock(tmp_path / "nowhere" / "a.lock"):
        pass
    assert not is_locked(tmp_path / "nowhere" / "a.lock")
