"""One gallery, many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import CollectionNotFoundError, InvalidEmbeddingError, ModelMismatchError, NewFace

EMBEDDER = "digest-of-the-embedder"
Vector = Callable[[int], NDArray[np.float32]]


def test_each_thread_reads_its_own_writes_and_nobody_is_ever_mislabelled(
    gallery: LocalGallery, new_face: Callable[[int], NewFace]
) -> None:
    done = threading.Event()

    def found(number: int) -> list[str]:
        query = new_face(number).embedding[None]
        return [m.identity for m in gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.999)[0]]

    def write(thread: int) -> None:
        for number in range(thread * 1000, thread * 1000 + 40):
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
            assert found(number) == [f"person {number}"]
            if number % 3 == 0:
                gallery.delete_identity("people", f"person {number}")
                assert found(number) == []

    def read() -> int:
        searches = 0
        while not done.is_set():
            for number in (5, 1005, 2005):
                assert found(number) in ([], [f"person {number}"])
                searches += 1
        return searches

    with ThreadPoolExecutor(6) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        writers = [threads.submit(write, thread) for thread in range(3)]
        try:
            for writer in writers:
                writer.result()
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert gallery.check() == []
    assert gallery.collection("people").faces == sum(
        number % 3 != 0 for t in range(3) for number in range(t * 1000, t * 1000 + 40)
    )


def test_threads_get_the_answers_that_one_alone_gets(
    gallery: LocalGallery, vector: Vector, new_face: Callable[[int], NewFace]
) -> None:
    for number in range(60):
        gallery.enroll("people", f"person {number % 20}", [new_face(number)], embedder=EMBEDDER)

    def search(number: int) -> list[tuple[str, float]]:
        answer = gallery.search("people", vector(number)[None], embedder=EMBEDDER, top_k=7, threshold=-1)[0]
        return [(match.identity, match.similarity) for match in answer]

    alone = [search(number) for number in range(100, 200)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(search, range(100, 200))) == alone


def test_callers_that_share_a_search_get_each_their_own(
    gallery: LocalGallery, vector: Vector, new_face: Callable[[int], NewFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Different numbers of queries, of answers, thresholds; and what is wrong with one is nobody else's."""
    for number in range(30):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    searches, gate, sizes = gallery._searches, threading.Event(), list[int]()
    together = searches._together

    def held(collection: str, embedder: str, asks: Sequence[Any]) -> Any:
        sizes.append(len(asks))
        assert gate.wait(30)
        return together(collection, embedder, asks)

    monkeypatch.setattr(searches, "_together", held)

    def ask(number: int) -> list[list[str]]:
        rows = np.stack([vector(number + more) for more in range(number % 3)] or [vector(number)])
        if number == 10:
            rows = rows[:, :3]
        top_k, threshold = (0 if number == 11 else 1 + number % 4), -1.0 + (number % 2)
        found = gallery.search("people", rows, embedder=EMBEDDER, top_k=top_k, threshold=threshold)
        return [[match.identity for match in one] for one in found]

    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(ask, 0)
        while not sizes:
            threading.Event().wait(0.001)
        others = [threads.submit(ask, number) for number in range(1, 20)]
        (turns,) = searches._turns.values()
        while len(turns._line) < 19:
            threading.Event().wait(0.001)
        gate.set()
        assert first.result(30)[0] == ["person 0"]
        for number, other in enumerate(others, 1):
            if number in (10, 11):
                with pytest.raises((ValueError, InvalidEmbeddingError), match="expected"):
                    other.result(30)
            else:
                assert other.result(30) == ask(number)
                assert other.result(30)[0][0] == f"person {number}"
    assert sizes[:2] == [1, 19]


def test_a_name_that_is_nobody_s_leaves_nothing_behind(gallery: LocalGallery, vector: Vector) -> None:
    for name in ("nobody", "nothing"):
        with pytest.raises(CollectionNotFoundError):
            gallery.search(name, vector(0)[None], embedder=EMBEDDER, top_k=1, threshold=0)
    with pytest.raises(ModelMismatchError):
        gallery.search("people", vector(0)[None], embedder="another", top_k=1, threshold=0)
    assert not gallery._searches._turns
