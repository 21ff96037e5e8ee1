"""`python -m app.bench.gallery.worker FOLDER DIMENSION`: opens the gallery as a worker of a service does."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from app.bench.gallery.crowd import COLLECTION, EMBEDDER, unit
from app.bench.processes import answer_each
from app.bench.statistics import Json, percentiles
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace


class Worker:
    """Opens when asked to, and tells what that cost."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._gallery: LocalGallery | None = None

    def answer(self, question: Json) -> Json:
        if question["do"] == "open":
            before, begun = _memory(), time.perf_counter()
            self._gallery = LocalGallery(self._folder)
            self._search(0)
            return {"open_s": time.perf_counter() - begun, "before": before}
        if question["do"] == "memory":
            self._search(1)
            return _memory()
        return self._enrol(question["seconds"])

    def _search(self, seed: int) -> None:
        assert self._gallery is not None
        query = unit(np.random.default_rng([9, seed]), 1, self._dimension)
        self._gallery.search(COLLECTION, query, embedder=EMBEDDER, top_k=5, threshold=0.4)

    def _enrol(self, seconds: float) -> Json:
        """Enrols, and searches in another thread meanwhile."""
        assert self._gallery is not None
        waits, ended = list[float](), threading.Event()

        def search() -> None:
            while not ended.is_set():
                begun = time.perf_counter()
                self._search(len(waits))
                waits.append(1e3 * (time.perf_counter() - begun))

        searching = threading.Thread(target=search)
        searching.start()
        begun, enrolled = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            face = NewFace(
                unit(np.random.default_rng([7, enrolled]), 1, self._dimension)[0],
                hashlib.sha256(b"%d %d" % (os.getpid(), enrolled)).hexdigest(),
            )
            self._gallery.enroll(COLLECTION, f"new {os.getpid()} {enrolled}", [face], embedder=EMBEDDER)
            enrolled += 1
        passed = time.perf_counter() - begun
        ended.set()
        searching.join()
        return {"enrolments_per_s": enrolled / passed, "searches_per_s": len(waits) / passed, **percentiles(waits)}


def _memory() -> Json:
    """Bytes resident, bytes with what is shared divided by those who share it, and bytes of nobody else's."""
    lines = dict(
        line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    kib = {key: int(value.split()[0]) for key, value in lines.items()}
    return {
        "resident": 1024 * kib["Rss"],
        "proportional": 1024 * kib["Pss"],
        "private": 1024 * (kib["Private_Clean"] + kib["Private_Dirty"]),
    }


if __name__ == "__main__":
    answer_each(Worker(Path(sys.argv[1]), int(sys.argv[2])).answer)
