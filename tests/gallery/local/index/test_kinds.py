"""How rows are kept: within what is told of the rounding, whatever the rows are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.local.index.halves import HALVES
from gallery.local.index.kinds import kept, sorted_out
from gallery.local.index.quarters import QUARTERS, step
from gallery.local.index.rounding import Kind, similarities
from gallery.local.index.waiting import Waiting


def odd_rows(seed: int, dimension: int) -> NDArray[np.float32]:
    """Evenly spread, with tiny numbers, one-hot, half a step in every component, steeper and steeper."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, dimension))
    rows[:8, ::2] *= 1e-5
    rows[8:12] = np.eye(dimension)[rng.integers(0, dimension, 4)]
    rows[12:16] = (rng.integers(0, 3, (4, dimension)) + 0.5) * step(dimension)
    rows[16:30, 0] *= np.geomspace(1, 100, 14)
    rows[30] = rows[31] = 1
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def stands_for(kind: Kind, rows: NDArray[np.uint8] | NDArray[np.float16]) -> NDArray[np.float64]:
    """By the definition of each kind."""
    if kind is HALVES:
        return rows.astype(np.float64)
    return (rows.astype(np.float64) - 128) * float(step(rows.shape[1]))


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 8, 24, 36, 37, 64, 512]))
def test_a_row_is_as_near_as_is_told(seed: int, dimension: int) -> None:
    rows, seen = odd_rows(seed, dimension), list[int]()
    for kind, which, rounded in sorted_out(rows):
        whole = stands_for(kind, rounded.rows)
        errors = np.linalg.norm(rows[which].astype(np.float64) - whole, axis=1)
        lengths = np.linalg.norm(whole, axis=1)
        assert errors.max() <= rounded.error < (0.024 if kind is QUARTERS else 0.001)
        assert rounded.error <= 1.01 * errors.max() + 2e-7
        assert lengths.max() <= rounded.length < 1.01 * lengths.max()
        assert rounded.rows.dtype == kind.dtype
        seen += which.tolist()
        for number, row in zip(which.tolist(), rounded.rows, strict=True):
            assert (kept(rows[number]) == row).all()
    assert sorted(seen) == list(range(len(rows)))


@pytest.mark.parametrize("dimension", [8, 64, 512])
@pytest.mark.parametrize("kind", [QUARTERS, HALVES])
def test_both_kinds_of_product_give_the_similarity(kind: Kind, dimension: int) -> None:
    rows = odd_rows(1, dimension)
    if kind is QUARTERS:
        rows = rows[QUARTERS.fit(rows)]
    codes, queries = kind.rounded(rows).rows, odd_rows(2, dimension)[:5]
    out, scratch = np.empty(rows.shape, np.float32), np.empty(rows.shape, np.uint8)
    by_product = kind.unpacked(codes, out, scratch).astype(np.float64) @ kind.scaled(queries).T.astype(np.float64)
    true = stands_for(kind, codes) @ queries.T.astype(np.float64)
    assert by_product == pytest.approx(true, abs=1e-6)
    asked, factors = kind.coded(queries)
    units = codes.astype(np.float64) - (128 if kind is QUARTERS else 0)
    by_scan = units @ asked.T.astype(np.float64) * factors
    assert np.abs(by_scan - true).max() <= (QUARTERS.apart(queries).max() + 1e-6 if kind is QUARTERS else 1e-6)


def test_a_query_is_cut_to_whole_signed_bytes() -> None:
    queries = odd_rows(3, 64)
    steps, _ = QUARTERS.coded(queries)
    assert (steps == steps.astype(np.int8)).all()
    assert (np.abs(steps).max(axis=1) == 127).all()
    assert QUARTERS.apart(np.eye(64, dtype=np.float32)).max() < 1e-6
    assert 0.004 < QUARTERS.apart(queries[35:]).max() < 0.02


def test_who_is_far_out_is_kept_as_halves() -> None:
    assert QUARTERS.fit(np.eye(36, dtype=np.float32)).all()
    assert not QUARTERS.fit(np.eye(37, dtype=np.float32)).any()
    rows = np.random.default_rng(0).standard_normal((10_000, 512)).astype(np.float32)
    assert QUARTERS.fit(rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean() > 0.999


def test_halves_have_no_subnormals() -> None:
    rows = HALVES.rounded(odd_rows(0, 64)).rows
    assert not ((rows != 0) & (np.abs(rows) < 2.0**-14)).any()


def test_a_similarity_is_the_same_in_any_company() -> None:
    rows = odd_rows(4, 96)
    alone = [similarities(row[np.newaxis], rows[0])[0] for row in rows]
    assert similarities(rows, rows[0]).tolist() == alone


def test_rows_wait_by_kind_until_there_are_enough() -> None:
    waiting, rows = Waiting(), np.concatenate([odd_rows(5, 64), odd_rows(6, 64)])
    fitting = QUARTERS.fit(rows)
    for start in range(0, 80, 10):
        faces = range(start, start + 10)
        waiting.add(list(faces), [face % 7 for face in faces], rows[start : start + 10])
    blocks = [*waiting.blocks(16, 16), *waiting.blocks(16, 1)]
    assert not list(waiting.blocks(16, 1))
    for kind, mask in ((QUARTERS, fitting), (HALVES, ~fitting)):
        columns = [block for each, block in blocks if each is kind]
        faces_there = np.concatenate([faces for faces, _, _ in columns])
        assert faces_there.tolist() == np.flatnonzero(mask).tolist()
        assert (np.concatenate([owners for _, owners, _ in columns]) == faces_there % 7).all()
        assert (np.concatenate([some for _, _, some in columns]) == kind.rounded(rows[mask]).rows).all()
        assert max(len(faces) for faces, _, _ in columns) <= 16
