"""Places of workers: each process has its own, and whoever comes after a dead one gets that one's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.places import worker_place

HOLD = """
import sys
from pathlib import Path
from app.places import worker_place

with worker_place(Path(sys.argv[1])) as place:
    print(place, flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that holds a place until it is told, or made, to end."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", HOLD, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.place = int(self.process.stdout.readline())

    def end(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate(timeout=20)


@contextmanager
def holders(folder: Path, count: int) -> Iterator[list[Holder]]:
    made = [Holder(folder) for _ in range(count)]
    try:
        yield made
    finally:
        for holder in made:
            holder.end(kill=True)


def test_each_process_has_the_lowest_free_place(tmp_path: Path) -> None:
    with holders(tmp_path / "run", 3) as living:
        assert [holder.place for holder in living] == [0, 1, 2]


def test_the_successor_of_a_killed_one_gets_its_place(tmp_path: Path) -> None:
    with holders(tmp_path, 3) as living:
        living[1].end(kill=True)
        living[1] = Holder(tmp_path)
        assert living[1].place == 1


def test_a_place_is_free_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with worker_place(tmp_path) as first, worker_place(tmp_path) as second:
            assert (first, second) == (0, 1)
    with holders(tmp_path, 1) as (holder,):
        holder.end()
        assert holder.process.returncode == 0
        with worker_place(tmp_path) as place:
            assert place == 0
