"""`crowd.py FOLDER SECONDS BUILD ...`: 4 processes, 8 writers, 8 readers, one gallery, and what `serial.py` says of it.

Says a line of JSON for each build. A cell is a face; it says under whose name, and with which note, it is found. A
writer has cells of its own: it enrols, describes, renames and erases, and looks after each whether it finds what it
wrote.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gallery.local.gallery import LocalGallery
from gallery.types import EraseIncompleteError, GalleryBusyError, Match, NewFace
from tests.gallery.local.faults.serial import Read, Value, Write, violations
from tests.gallery.local.faults.world import DIMENSION, EMBEDDER, face, vector

PROCESSES, WRITERS, READERS, CELLS = 4, 2, 2, 3
NUMBERS = range(PROCESSES * WRITERS * CELLS)
_search, _enroll = LocalGallery.search, LocalGallery.enroll


class Writer:
    """A life after another in each of its cells."""

    def __init__(self, gallery: LocalGallery, number: int) -> None:
        self._gallery = gallery
        self._number = number
        self._chance = random.Random(number)
        self._names: dict[int, str] = {}
        self._count = 0
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.told: Counter[str] = Counter()

    def run(self, end: float) -> None:
        own = NUMBERS[self._number * CELLS : (self._number + 1) * CELLS]
        while time.monotonic() < end:
            self._write(self._chance.choice(own))
            self.reads.append(look(self._gallery, own, writer=self._number))

    def _write(self, cell: int) -> None:
        self._count += 1
        name, note = self._names.get(cell), f"note {self._count}"
        new_name = f"{cell} of {self._number}" if self._chance.random() < 0.5 else f"{cell} renamed {self._count}"
        do: Callable[[], object]
        value: Value = f"{new_name}: {note}"
        if name is None:
            faces = [face(cell)]
            do = lambda: self._gallery.enroll("people", new_name, faces, embedder=EMBEDDER, metadata={"note": note})  # noqa: E731
        elif self._chance.random() < 0.7:
            change = {"new_name": new_name, "metadata": {"note": note}}
            do = lambda: self._gallery.update_identity("people", name, **change)  # type: ignore[arg-type]  # noqa: E731
        else:
            do, value = lambda: self._gallery.delete_identity("people", name), None
        begin = time.monotonic_ns()
        try:
            do()
        except GalleryBusyError:
            self.told["busy"] += 1
            return  # nothing was written
        except EraseIncompleteError:
            self.told["erase incomplete"] += 1
        self.writes.append(Write(str(cell), value, begin, time.monotonic_ns()))
        self.told["erased" if value is None else "written"] += 1
        self._names = {**self._names, cell: new_name}
        if value is None:
            del self._names[cell]


def look(gallery: LocalGallery, cells: Sequence[int], writer: int | None = None) -> Read:
    queries = np.stack([vector(cell) for cell in cells])
    begin = time.monotonic_ns()
    answers = gallery.search("people", queries, embedder=EMBEDDER, top_k=2, threshold=0.999)
    end = time.monotonic_ns()
    values = {
        str(cell): " and ".join(f"{match.identity}: {match.metadata['note']}" for match in matches) or None
        for cell, matches in zip(cells, answers, strict=True)
    }
    return Read(values, begin, end, writer)


def process(folder: Path, which: int, seconds: float, start: int) -> tuple[list[Write], list[Read], Counter[str]]:
    reads: list[Read] = []
    with LocalGallery(folder) as gallery, ThreadPoolExecutor(WRITERS + READERS) as threads:
        time.sleep(max(0.0, start / 1e9 - time.monotonic()))
        end = time.monotonic() + seconds

        def read() -> None:
            while time.monotonic() < end:
                reads.append(look(gallery, NUMBERS))
                time.sleep(0.002)  # else the writers of a small machine hardly come to write

        writers = [Writer(gallery, which * WRITERS + number) for number in range(WRITERS)]
        at_work = [threads.submit(writer.run, end) for writer in writers]
        at_work += [threads.submit(read) for _ in range(READERS)]
        for each in at_work:
            each.result()
        told = sum((writer.told for writer in writers), Counter({"differences": len(gallery.check())}))
    own = [each for writer in writers for each in writer.reads]
    return [each for writer in writers for each in writer.writes], [*reads, *own], told


def main(folder: Path, seconds: float, builds: Sequence[str]) -> None:
    """Each in a fork of this process, which has no gallery open."""
    for build in builds:
        if not (child := os.fork()):
            (folder / build).mkdir()
            BUILDS[build]()
            judged(folder / build, seconds)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def judged(folder: Path, seconds: float) -> None:
    for number in NUMBERS:
        face(number)
    if not (child := os.fork()):
        with LocalGallery(folder) as gallery:
            gallery.create_collection("people", EMBEDDER, DIMENSION)
        os._exit(0)
    os.waitpid(child, 0)
    start, children = time.monotonic_ns() + 200_000_000, list[int]()
    for which in range(PROCESSES):
        if not (child := os.fork()):
            (folder / f"history {which}").write_bytes(pickle.dumps(process(folder, which, seconds, start)))
            os._exit(0)
        children.append(child)
    codes = [os.waitpid(each, 0)[1] for each in children]
    assert codes == [0] * PROCESSES
    histories = [pickle.loads((folder / f"history {which}").read_bytes()) for which in range(PROCESSES)]
    writes = [write for history in histories for write in history[0]]
    reads = [read for history in histories for read in history[1]]
    # A writer looks at its own cells alone: such a read is judged by itself.
    own = [read for read in reads if read.writer is not None]
    wrong = violations(writes, [read for read in reads if read.writer is None])
    wrong += [
        each
        for number in NUMBERS[::CELLS]
        for each in violations(
            [write for write in writes if int(write.cell) // CELLS == number // CELLS],
            [read for read in own if read.writer == number // CELLS],
        )
    ]
    told = sum((history[2] for history in histories), Counter[str]())
    summary = {"writes": len(writes), "reads": len(reads), "wrong": len(wrong), **told}
    kinds = sorted({each.partition(":")[0] for each in wrong})
    print(json.dumps({**summary, "first": wrong[:20], "kinds": kinds}), flush=True)


# --- broken builds


def remembers() -> None:
    """Gives an answer again for a while."""
    last = threading.local()

    def search(self: LocalGallery, *asked: Any, **rest: Any) -> list[list[Match]]:
        if time.monotonic() > getattr(last, "until", 0) or len(last.answer) != len(asked[1]):
            last.answer, last.until = _search(self, *asked, **rest), time.monotonic() + 0.05
        answer: list[list[Match]] = last.answer
        return answer

    LocalGallery.search = search  # type: ignore[method-assign]


def looks_one_by_one() -> None:
    """A transaction for each embedding, with a pause, in no fixed order."""

    def search(self: LocalGallery, collection: str, queries: Any, **rest: Any) -> list[list[Match]]:
        answers: dict[int, list[Match]] = {}
        for number in random.sample(range(len(queries)), len(queries)):
            answers[number] = _search(self, collection, queries[number : number + 1], **rest)[0]
            time.sleep(0.004)
        return [answers[number] for number in range(len(queries))]

    LocalGallery.search = search  # type: ignore[method-assign,assignment]


def mixes_up() -> None:
    """Now and then enrols another's face."""

    def enroll(self: LocalGallery, collection: str, identity: str, faces: Sequence[NewFace], **rest: Any) -> Any:
        number = int(identity.split()[0])
        wrong = [face((number + 1) % len(NUMBERS))] if random.random() < 0.2 else faces
        return _enroll(self, collection, identity, wrong, **rest)

    LocalGallery.enroll = enroll  # type: ignore[method-assign]


BUILDS: dict[str, Callable[[], None]] = {
    "honest": lambda: None,
    "remembers": remembers,
    "one by one": looks_one_by_one,
    "mixes up": mixes_up,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
