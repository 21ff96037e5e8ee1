"""The index against the slow, obvious search."""

from __future__ import annotations

import threading

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.local.index import flat as index_module
from gallery.local.index import rounding
from gallery.local.index.flat import FlatIndex, Hit
from tests.gallery.local.index.whole import Whole, unit_rows


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
        index, rows = Whole(8), dict[int, tuple[int, NDArray[np.float32]]]()
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
        assert {face for face, _, _ in index.flat.rows()} == set(rows)
        assert len(index.flat) == len(rows)


def test_a_search_widens_until_it_has_enough_identities() -> None:
    near = unit_rows(1, 16)[0]
    crowd = near + 0.01 * unit_rows(500, 16, 1)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    others = unit_rows(20, 16, 2)
    index = Whole(16)
    index.add(range(500), [0] * 500, crowd.astype(np.float32))
    index.add(range(500, 520), range(1, 21), others)
    (hits,) = index.search(near[np.newaxis], 4, -1)
    agree(hits, index.of, near, 4, -1)
    assert len(hits) == 4


def test_many_rows_at_once_fill_one_segment_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SEGMENT_ROWS", 10)
    index, embeddings = Whole(8), unit_rows(35, 8)
    index.add(range(35), range(35), embeddings)
    for face in range(0, 35, 3):
        index.remove(face)
    index.add([100, 101], [100, 101], unit_rows(2, 8, 5))
    assert [segment.count for segment in index.flat._segments] == [8, 7, 7, 3]
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
    index = Whole(512)
    index.add(range(200), range(200), rows)
    similarities = [hits[0].similarity for hits in index.search(rows, 1, -1)]
    assert max(similarities) <= 1
    assert min(similarities) == pytest.approx(1, abs=1e-5)


def test_each_thread_searches_with_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Whole(8)
    index.add([1], [1], unit_rows(1, 8))
    seen: list[int] = []

    def search() -> None:
        index.search(unit_rows(1, 8), 1, -1)
        seen.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert seen == [1]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.sampled_from([1, 3, 12, 33]),
    dimension=st.sampled_from([3, 24, 64, 128]),
    pointed=st.sampled_from([0, 0.1, 1]),
    twins=st.integers(0, 200),
    apart=st.sampled_from([0, 1e-7, 1e-5, 1e-4, 1e-3, 1e-2]),
    identities=st.sampled_from([1, 7, 300]),
    top_k=st.integers(1, 8),
    threshold=st.sampled_from([-1.0, 0.3, 0.9]),
    some=st.booleans(),
)
def test_near_ties_are_told_apart_as_in_float64(
    seed: int,
    queries: int,
    dimension: int,
    pointed: float,
    twins: int,
    apart: float,
    identities: int,
    top_k: int,
    threshold: float,
    some: bool,
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((300, dimension))
    rows[rng.random(300) < pointed, 1] += 20  # those are kept as halves, where there are more dimensions than a few
    rows[:twins] = rows[0] / np.linalg.norm(rows[0]) + apart * rng.standard_normal((twins, dimension))
    rows[rng.random(rows.shape) < 0.1] *= 1e-5  # halves that would be subnormal
    embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    allowed = np.unique(rng.integers(0, identities, 5)) if some else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "SEGMENT_ROWS", 64)
        index = Whole(dimension)
        index.add(range(300), rng.integers(0, identities, 300).tolist(), embeddings)
        for face in rng.permutation(300)[:40].tolist():
            index.remove(face)
        asked = embeddings[rng.integers(0, max(twins, 300), queries)]
        for query, hits in zip(asked, index.search(asked, top_k, threshold, allowed), strict=True):
            assert hits == index.by_definition(query, top_k, threshold, allowed)


def test_without_the_widening_a_near_tie_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "bounds", lambda queries, *_: np.zeros(len(queries)))
    rng = np.random.default_rng(0)
    rows = unit_rows(1, 24) + 1e-4 * rng.standard_normal((300, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = Whole(24)
    index.add(range(300), range(300), rows)
    found = [hits[0].face for hits in index.search(rows, 1, -1)]
    assert found != [index.by_definition(query, 1, -1)[0].face for query in rows]


def test_one_answer_alone_and_in_company() -> None:
    index, rows = Whole(32), unit_rows(500, 32)
    index.add(range(500), range(500), rows)
    together = index.search(rows[:40], 5, -1)
    assert together == [index.search(row[np.newaxis], 5, -1)[0] for row in rows[:40]]


def test_few_whole_rows_are_asked_for() -> None:
    index, rows = Whole(128), unit_rows(20_000, 128)
    index.add(range(20_000), range(20_000), rows)
    index.search(rows[:32], 1, -1)
    assert index.asked < 3 * 32


def test_faces_are_found_in_whatever_order_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SEGMENT_ROWS", 5)
    index, rows = Whole(8), unit_rows(30, 8)
    for face in (7, 3, 9, 11, 10, 1, 20, 21, 22, 5):
        index.add([face], [face], rows[face][np.newaxis])
    for face in (9, 22, 3):
        index.remove(face)
    index.add([4, 9], [4, 9], rows[[4, 9]])
    assert [face for face in range(30) if face in index.flat] == [1, 4, 5, 7, 9, 10, 11, 20, 21]
    assert [hits[0].face for hits in index.search(rows[[4, 9, 21]], 1, 0.9)] == [4, 9, 21]
