"""One gallery, many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import NewFace

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
