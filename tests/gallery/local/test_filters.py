"""Searching among those alone whose metadata passes, against a plain loop over everybody."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import records
from gallery.local.gallery import LocalGallery
from gallery.local.selections import passing
from gallery.types import InvalidFilterError, NewFace

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]

TEXTS = st.sampled_from(["", "a", "b", "1", "true", "null", "é", '"', "\\", "a.b", "$", "💥", "\u2028", "[0]"])
FOUND = st.one_of(
    TEXTS, st.booleans(), st.none(), st.integers(-2, 2), st.sampled_from([0.5, 1.0, -0.0, 0.1, 1e-7, 2.0])
)
HELD = st.one_of(
    FOUND, st.text(max_size=3), st.lists(FOUND, max_size=2), st.dictionaries(TEXTS, FOUND, max_size=2), st.just("a\0b")
)
METADATA = st.dictionaries(TEXTS, HELD, max_size=4)
FILTERS = st.dictionaries(TEXTS, st.one_of(FOUND, st.lists(FOUND, min_size=1, max_size=3)), min_size=1, max_size=2)


def same(held: Any, value: Any) -> bool:
    """JSON's equality, by the kinds of the two values: a slow and obvious twin."""
    kinds = {str: "text", bool: "bool", type(None): "null", int: "number", float: "number"}
    return kinds.get(type(held)) == kinds[type(value)] and held == value


def passes(metadata: dict[str, Any], asked: dict[str, Any]) -> bool:
    listed = {key: value if isinstance(value, list) else [value] for key, value in asked.items()}
    return all(
        key in metadata and any(same(metadata[key], value) for value in values) for key, values in listed.items()
    )


@settings(max_examples=300)
@given(held=st.lists(METADATA, max_size=8), asked=FILTERS)
def test_sqlite_lets_pass_whom_a_plain_loop_does(
    people: sqlite3.Connection, held: list[dict[str, Any]], asked: dict[str, Any]
) -> None:
    people.execute("BEGIN")
    try:
        rows = [records.add_identity(people, 1, f"p{number}", one) for number, one in enumerate(held)]
        expected = [row.key for row, metadata in zip(rows, held, strict=True) if passes(metadata, asked)]
        chosen = Filter.of(asked)
        assert passing(people, chosen, 1, 0).tolist() == expected
        assert [row.key for row, metadata in zip(rows, held, strict=True) if chosen.passes(metadata)] == expected
    finally:
        people.execute("ROLLBACK")


@pytest.mark.parametrize("value", ["x", "x\0"])
def test_metadata_that_sqlite_cannot_read_is_judged_all_the_same(people: sqlite3.Connection, value: str) -> None:
    people.execute("BEGIN")
    row = records.add_identity(people, 1, "odd", {})
    metadata = json.dumps({"a": value, "b": float("nan")})
    people.execute("UPDATE identities SET metadata = ? WHERE key = ?", (metadata, row.key))
    assert people.execute("SELECT json_valid(metadata) FROM identities WHERE key = ?", (row.key,)).fetchone() == (0,)
    assert passing(people, Filter.of({"a": "x"}), 1, 0).tolist() == [row.key] * (value == "x")
    people.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "1 to 16 keys"),
        ({str(number): 1 for number in range(17)}, "1 to 16 keys"),
        ({"a": []}, "has 0 values"),
        ({"a": list(range(101))}, "has 101 values"),
        ({"a": float("nan")}, "expected text"),
        ({"a": float("inf")}, "expected text"),
        ({"a": 2**53 + 1}, "expected text"),
        ({"a": {"b": 1}}, "expected text"),
        ({"a": [[1]]}, "expected text"),
        ({"a": "x\0"}, "without NUL"),
        ({"a\ud800": 1}, "without NUL"),
        ({"a": "x" * 1001}, "at most 1000"),
    ],
)
def test_a_filter_that_compares_with_nothing_is_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidFilterError, match=told):
        Filter.of(asked)


def unit(number: int) -> NDArray[np.float32]:
    row = np.random.default_rng(number).standard_normal(16).astype(np.float32)
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


@pytest.mark.parametrize("share", [1, 2, 3, 59, 60])
@pytest.mark.parametrize("queries", [1, 9])
def test_the_search_is_exact_among_those_who_pass(
    gallery: LocalGallery, new_face: Faces, share: int, queries: int
) -> None:
    """Few or all pass; each has three faces, so that the best identities are not the best rows."""
    for number in range(60):
        faces = [new_face(3 * number + each) for each in range(3)]
        gallery.enroll("people", f"p{number}", faces, embedder=EMBEDDER, metadata={"low": number < share})
    asked = np.stack([unit(1000 + number) for number in range(queries)])
    counts: list[int] = []

    def line(identities: int) -> float:
        counts.append(identities)
        return -1

    found = gallery.search("people", asked, embedder=EMBEDDER, top_k=5, threshold=line, chosen=Filter.of({"low": True}))
    assert counts == [share]
    for query, matches in zip(asked, found, strict=True):
        best = {
            f"p{number}": max(float(unit(3 * number + each) @ query) for each in range(3)) for number in range(share)
        }
        expected = sorted(best, key=lambda name: -best[name])[:5]
        assert [match.identity for match in matches] == expected
        assert [match.similarity for match in matches] == pytest.approx([best[name] for name in expected], abs=1e-5)
