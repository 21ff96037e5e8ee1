"""`python -m app.bench.gallery.contest FOLDER ROWS DIMENSION [milvus-lite]`: the gallery and peers in one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
from numpy.typing import NDArray

from app.bench.gallery.crowd import COLLECTION, EMBEDDER, name, pages, pictures_of
from app.bench.processes import answer_each
from app.bench.statistics import Json
from gallery.local.gallery import LocalGallery
from gallery.types import Match

if TYPE_CHECKING:
    from app.bench.gallery.lite import MilvusLite

CLIENTS, TOP_K, THRESHOLD = 32, 5, 0.4
LITE = "milvus-lite"
SLOW = ("list", LITE)
_SINGLES = 5


class Contest:
    """The gallery, `faiss.IndexFlatIP` as it comes, a Python list of NumPy arrays and, if asked for, milvus-lite, all
    of the same embeddings."""

    def __init__(self, folder: Path, rows: int, dimension: int, *, lite: bool) -> None:
        self._gallery = LocalGallery(folder)
        self._embeddings = np.concatenate(list(pages(rows, dimension)))
        self._flat = faiss.IndexFlatIP(dimension)
        self._flat.add(self._embeddings)
        self._list = list(self._embeddings)
        self._lite = _lite(folder.parent, self._embeddings) if lite else None
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._seed = 0

    def answer(self, question: Json) -> Json:
        return self._turn() if question["do"] == "turn" else self._agreement(question["queries"])

    def _turn(self) -> Json:
        """Milliseconds: each of a few searches by itself, and 32 searches together."""
        self._seed += 1
        queries, _ = pictures_of(self._embeddings, CLIENTS, self._seed)
        one: dict[str, Callable[[NDArray[np.float32]], object]] = {
            "ours": self._ours,
            "flat": self._flat_search,
            "list": self._listed,
        }
        together: dict[str, Callable[[NDArray[np.float32]], object]] = {
            "ours": self._at_once,
            "ours, one call": self._ours,
            "flat": self._flat_search,
        }
        if self._lite is not None:
            one[LITE] = together[LITE] = partial(self._lite.search, top_k=TOP_K)
        order = -1 if self._seed % 2 else 1
        singles = {
            who: [_ms(search, queries[at : at + 1]) for at in range(1 if who in SLOW else _SINGLES)]
            for who, search in list(one.items())[::order]
        }
        return {
            "one_ms": singles,
            "together_ms": {who: _ms(search, queries) for who, search in list(together.items())[::order]},
        }

    def _agreement(self, count: int) -> Json:
        """Of how many queries all three name the same person first, and the right one."""
        queries, people = pictures_of(self._embeddings, count, 10**6)
        ours = [matches[0].identity if matches else "" for matches in self._ours(queries)]
        flat = [name(int(row)) for row in self._flat_search(queries)[1][:, 0]]
        return {
            "queries": count,
            "same": sum(one == other for one, other in zip(ours, flat, strict=True)),
            "right": sum(one == other for one, other in zip(ours, people, strict=True)),
        }

    def _ours(self, queries: NDArray[np.float32]) -> list[list[Match]]:
        return self._gallery.search(COLLECTION, queries, embedder=EMBEDDER, top_k=TOP_K, threshold=THRESHOLD)

    def _at_once(self, queries: NDArray[np.float32]) -> None:
        list(self._pool.map(self._ours, queries[:, np.newaxis]))

    def _flat_search(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        faiss.omp_set_num_threads(1)
        found: tuple[NDArray[np.float32], NDArray[np.int64]] = self._flat.search(queries, TOP_K)
        return found

    def _listed(self, queries: NDArray[np.float32]) -> list[int]:
        return [int(np.argmax([np.dot(embedding, query) for embedding in self._list])) for query in queries]


def _lite(folder: Path, embeddings: NDArray[np.float32]) -> MilvusLite:
    from app.bench.gallery.lite import MilvusLite  # whose packages not everybody has

    return MilvusLite(folder, embeddings)


def _ms(search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> float:
    begun = time.perf_counter()
    search(queries)
    return 1e3 * (time.perf_counter() - begun)


if __name__ == "__main__":
    folder, rows, dimension, *others = sys.argv[1:]
    answer_each(Contest(Path(folder), int(rows), int(dimension), lite=LITE in others).answer)
