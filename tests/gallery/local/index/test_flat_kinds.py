"""An index whose rows are kept in different ways, against the slow, obvious search."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.index import flat as index_module
from gallery.local.index import rounding
from gallery.local.index.flat import FlatIndex
from gallery.local.index.quarters import QUARTERS
from tests.gallery.local.index.whole import Whole, unit_rows


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("dimension", [3, 16, 24, 64, 128, 512])
def test_both_kernels_stay_within_the_bound(queries: int, dimension: int) -> None:
    """64 divides some: there FAISS multiplies bytes."""
    rows = unit_rows(1500, dimension)
    rows[::3] += 0.7 * np.eye(dimension, dtype=np.float32)[np.arange(500) % dimension]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index, asked = FlatIndex(dimension), unit_rows(queries, dimension, 1)
    asked[0] = np.eye(dimension)[1]
    index.add(range(1500), range(1500), rows)
    assert {segment.kind.name for segment in index._segments} == {"int8", "float16"} or dimension <= 36
    bounds = rounding.bounds(asked, QUARTERS.apart(asked), *index.rounding)
    question = index_module._Asked(asked, 1500, np.full(queries, -2.0), None)
    for query, most, nearest in zip(asked, bounds, index._nearest(question), strict=True):
        assert sorted(nearest.faces.tolist()) == list(range(1500))
        assert np.abs(nearest.similarities - rounding.similarities(rows[nearest.faces], query)).max() <= most < 0.2


def pointed_rows(count: int, dimension: int) -> NDArray[np.float32]:
    rows = unit_rows(count, dimension, 7)
    rows[:, 0] = 5
    pointed: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return pointed


def test_rows_that_bytes_keep_badly_are_nobody_s_loss() -> None:
    index, rows = Whole(128), unit_rows(5000, 128)
    index.add(range(5000), range(5000), rows)
    before = index.flat.rounding[0]
    odd = np.concatenate([np.eye(128, dtype=np.float32), pointed_rows(100, 128)])
    index.add(range(5000, 5228), range(5000, 5228), odd)
    assert index.flat.rounding[0] == before < 0.024
    index.search(rows[:32], 1, -1)
    assert index.asked < 3 * 32
    for query, hits in zip(odd[::12], index.search(odd[::12], 3, -1), strict=True):
        assert hits == index.by_definition(query, 3, -1)


@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize("row", [unit_rows(1, 64), pointed_rows(1, 64)])
def test_of_equal_rows_the_first_enrolled_are_found(row: NDArray[np.float32], queries: int) -> None:
    index = Whole(64)
    faces = np.random.default_rng(1).permutation(400).tolist()
    index.add(faces, faces, np.repeat(row, 400, axis=0))
    for hits in index.search(np.repeat(row, queries, axis=0), 3, 0.5):
        assert [hit.face for hit in hits] == [0, 1, 2]


def test_a_mixed_index_follows_removals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SEGMENT_ROWS", 8)
    index, rows = Whole(32), np.concatenate([unit_rows(30, 32), pointed_rows(30, 32)])
    order = np.random.default_rng(3).permutation(60).tolist()
    for face in order:
        index.add([face], [face % 11], rows[[face]])
    for face in order[::2]:
        index.remove(face)
    assert [face for face in range(60) if face in index.flat] == sorted(order[1::2])
    for query, hits in zip(rows, index.search(rows, 4, 0.1), strict=True):
        assert hits == index.by_definition(query, 4, 0.1)
