"""The index against the slow, obvious search."""

from __future__ import annotations

import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery import index as index_module
from gallery.index import FlatIndex, Hit


def unit_rows(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def best_of_each(
    rows: dict[int, tuple[int, NDArray[np.float32]]], query: NDArray[np.float32], top_k: int, threshold: float
) -> list[float]:
    """The similarities a search must give, by the definition."""
    best: dict[int, float] = {}
    for identity, embedding in rows.values():
        best[identity] = max(best.get(identity, -2), float(embedding @ query))
    return sorted((value for value in best.values() if value >= threshold), reverse=True)[:top_k]


def agree(
    hits: list[Hit],
    rows: dict[int, tuple[int, NDArray[np.float32]]],
    query: NDArray[np.float32],
    top_k: int,
    threshold: float,
) -> None:
    expected = best_of_each(rows, query, top_k, threshold)
    assert [hit.similarity for hit in hits] == pytest.approx(expected, abs=1e-5)
    assert len({hit.identity for hit in hits}) == len(hits)
    for hit in hits:
        identity, embedding = rows[hit.face]
        assert identity == hit.identity
        assert float(embedding @ query) == pytest.approx(hit.similarity, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 10_000)), max_size=60),
    identities=st.integers(1, 8),
    top_k=st.integers(1, 6),
    threshold=st.sampled_from([-1.0, 0.0, 0.3]),
)
def test_any_order_of_adding_and_removing_answers_like_the_definition(
    steps: list[tuple[bool, int]], identities: int, top_k: int, threshold: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "SEGMENT_ROWS", 7)
        index, rows = FlatIndex(8), dict[int, tuple[int, NDArray[np.float32]]]()
        for face, (add, seed) in enumerate(steps):
            if add or not rows:
                rows[face] = (seed % identities, unit_rows(1, 8, seed)[0])
                index.add([face], [seed % identities], rows[face][1][np.newaxis])
            else:
                gone = sorted(rows)[seed % len(rows)]
                del rows[gone]
                index.remove(gone)
        queries = unit_rows(3, 8, 99)
        for query, hits in zip(queries, index.search(queries, top_k, threshold), strict=True):
            agree(hits, rows, query, top_k, threshold)
        assert {face for face, _, _ in index.rows()} == set(rows)
        assert len(index) == len(rows)


def test_a_search_widens_until_it_has_enough_identities() -> None:
    near = unit_rows(1, 16)[0]
    crowd = near + 0.01 * unit_rows(500, 16, 1)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    others = unit_rows(20, 16, 2)
    index = FlatIndex(16)
    index.add(range(500), [0] * 500, crowd.astype(np.float32))
    index.add(range(500, 520), range(1, 21), others)
    (hits,) = index.search(near[np.newaxis], 4, -1)
    rows = {face: (identity, embedding) for face, identity, embedding in index.rows()}
    agree(hits, rows, near, 4, -1)
    assert len(hits) == 4


def test_many_rows_at_once_fill_one_segment_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SEGMENT_ROWS", 10)
    index, embeddings = FlatIndex(8), unit_rows(35, 8)
    index.add(range(35), range(35), embeddings)
    for face in range(0, 35, 3):
        index.remove(face)
    index.add([100, 101], [100, 101], unit_rows(2, 8, 5))
    assert [segment.count for segment in index._segments] == [8, 7, 7, 3]
    hits = index.search(embeddings[[1, 34]], 1, 0.99)
    assert [hit.face for (hit,) in hits] == [1, 34]


def test_a_removed_embedding_is_overwritten_in_memory() -> None:
    index, embeddings = FlatIndex(8), unit_rows(3, 8)
    index.add(range(3), range(3), embeddings)
    for face in (0, 2, 1):
        index.remove(face)
    assert not index._segments[0].embeddings[:3].any()
    with pytest.raises(KeyError):
        index.remove(0)


def test_similarities_stay_within_cosines_range() -> None:
    rows = unit_rows(200, 512)
    index = FlatIndex(512)
    index.add(range(200), range(200), rows)
    similarities = [hits[0].similarity for hits in index.search(rows, 1, -1)]
    assert max(similarities) <= 1
    assert min(similarities) == pytest.approx(1, abs=1e-5)


def test_each_thread_searches_with_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    index = FlatIndex(8)
    index.add([1], [1], unit_rows(1, 8))
    seen: list[int] = []

    def search() -> None:
        index.search(unit_rows(1, 8), 1, -1)
        seen.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert seen == [1]
