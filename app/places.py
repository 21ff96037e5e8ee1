"""Which of several workers a worker is, so that one that replaces another takes over its GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from engines.file_lock import file_lock


@contextmanager
def worker_place(folder: Path) -> Iterator[int]:
    """The lowest place, from 0 up, that no living process holds in `folder`; held until the block or the process ends.

    The system frees the place of a process that was killed: its successor, being one of the same number of processes,
    finds that one free and no other. Without `flock`, on Windows, where there is one worker, the place is 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in count():
        with file_lock(folder / f"worker-{place}.lock", wait=False) as held:
            if held:
                yield place
                return
