"""Searching among those alone whose metadata passes, against a plain loop over everybody."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import records, schema
from gallery.local import selections as selections_module
from gallery.local.gallery import LocalGallery
from gallery.local.selections import Selections, passing
from gallery.types import InvalidFilterError, NewFace, Terms

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


@pytest.fixture(scope="module")
def people() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(connection)
    records.add_collection(connection, "people", EMBEDDER, 16, Terms())
    yield connection
    connection.close()


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


def test_what_is_remembered_of_a_filter_follows_every_change(
    gallery: LocalGallery, folder: Path, new_face: Faces
) -> None:
    """Two handles, as of two workers: each remembers for itself."""
    sales, query = Filter.of({"department": "sales"}), new_face(0).embedding[np.newaxis]

    def found(handle: LocalGallery) -> set[str]:
        counts: list[int] = []

        def line(identities: int) -> float:
            counts.append(identities)
            return -1

        [matches] = handle.search("people", query, embedder=EMBEDDER, top_k=10, threshold=line, chosen=sales)
        assert counts == [len(matches)]
        return {match.identity for match in matches}

    def both() -> set[str]:
        answers = [found(handle) for handle in (gallery, other)]
        assert answers[0] == answers[1]
        return answers[0]

    with LocalGallery(folder) as other:
        assert both() == set()
        for number, department in enumerate(["sales", "support", "sales"]):
            metadata = {"department": department}
            gallery.enroll("people", f"p{number}", [new_face(number)], embedder=EMBEDDER, metadata=metadata)
            both()
        assert both() == {"p0", "p2"}
        other.update_identity("people", "p1", metadata={"department": "sales"})
        assert both() == {"p0", "p1", "p2"}
        other.update_identity("people", "p1", new_name="q1")
        assert both() == {"p0", "q1", "p2"}
        gallery.enroll("people", "p0", [new_face(7)], embedder=EMBEDDER, metadata={})
        assert both() == {"q1", "p2"}
        gallery.delete_identity("people", "p2")
        assert both() == {"q1"}
        gallery.delete_collection("people")
        gallery.create_collection("people", EMBEDDER, 16)
        assert both() == set()


def test_one_and_true_are_not_remembered_as_one_filter(gallery: LocalGallery, new_face: Faces) -> None:
    values: list[int | str] = [1, True, "1"]
    for number, value in enumerate(values):
        gallery.enroll("people", f"p{number}", [new_face(number)], embedder=EMBEDDER, metadata={"a": value})
    query = new_face(0).embedding[np.newaxis]
    for number, value in enumerate(values):
        chosen = Filter.of({"a": value})
        [found] = gallery.search("people", query, embedder=EMBEDDER, top_k=9, threshold=-1, chosen=chosen)
        assert [match.identity for match in found] == [f"p{number}"]


OPERATIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2)),
    st.tuples(st.just("describe"), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("trim"), st.integers(0, 3)),
    st.tuples(st.just("ask"), st.integers(0, 1)),
)


@given(st.lists(OPERATIONS, max_size=40))
def test_what_is_remembered_is_what_would_be_asked_anew(
    people: sqlite3.Connection, done: list[tuple[str, int]]
) -> None:
    """Two who remember, asked now and then, while the log is cut short."""
    people.execute("BEGIN")
    try:
        selections, chosen, keys = [Selections(), Selections()], Filter.of({"a": 1}), list[int]()
        for number, (what, which) in enumerate([*done, ("ask", 0), ("ask", 1)]):
            if what == "add":
                keys.append(records.add_identity(people, 1, f"p{number}", {"a": which}).key)
            elif what == "trim":
                people.execute(
                    "DELETE FROM descriptions WHERE seq <= (SELECT max(seq) FROM descriptions) - ?", (which,)
                )
            elif what == "ask":
                row = records.collection(people, "people")
                asked = selections[which].of(people, row, chosen).tolist()
                assert asked == passing(people, chosen, 1, 0).tolist()
            elif keys and what == "describe":
                somebody = records.identity_of(people, keys[number % len(keys)])
                records.set_metadata(people, somebody, {"a": which})
            elif keys:
                people.execute("DELETE FROM identities WHERE key = ?", (keys.pop(which % len(keys)),))
    finally:
        people.execute("ROLLBACK")


def test_a_log_that_does_not_go_back_far_enough_is_not_followed(people: sqlite3.Connection) -> None:
    people.execute("BEGIN")
    selections, chosen = Selections(), Filter.of({"a": 1})
    rows = [records.add_identity(people, 1, f"p{number}", {"a": 1}) for number in range(3)]
    assert len(selections.of(people, records.collection(people, "people"), chosen)) == 3
    for row in rows[:2]:
        records.set_metadata(people, row, {})
    people.execute("DELETE FROM descriptions WHERE identity = ?", (rows[0].key,))
    found = selections.of(people, records.collection(people, "people"), chosen)
    assert found.tolist() == [rows[2].key]
    people.execute("ROLLBACK")


def test_only_what_changed_is_asked_about(people: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that is asked often costs no look at everybody, though somebody comes, goes or changes each time."""
    looked_at: list[tuple[int, int | None]] = []

    def counted(connection: sqlite3.Connection, chosen: Filter, key: int, after: int, among: Any = None) -> Any:
        looked_at.append((after, None if among is None else len(among)))
        return passing(connection, chosen, key, after, among)

    monkeypatch.setattr(selections_module, "passing", counted)
    people.execute("BEGIN")
    selections, chosen = Selections(), Filter.of({"a": 1})
    rows = [records.add_identity(people, 1, f"p{number}", {"a": 1}) for number in range(50)]

    def ask() -> int:
        return len(selections.of(people, records.collection(people, "people"), chosen))

    assert (ask(), ask()) == (50, 50)
    records.set_metadata(people, rows[3], {"a": 2})
    assert ask() == 49
    people.execute("DELETE FROM identities WHERE key = ?", (rows[4].key,))
    assert ask() == 48
    records.add_identity(people, 1, "new", {"a": 1})
    assert ask() == 49
    people.execute("ROLLBACK")
    assert looked_at == [(0, None), (0, 1), (0, 1), (rows[-1].key, None)]


def test_an_earlier_snapshot_is_not_told_of_those_who_came_later(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        selections, everybody = Selections(), Filter.of({"a": 1})
        gallery.enroll("people", "first", [new_face(1)], embedder=EMBEDDER, metadata={"a": 1})
        with gallery._store.read() as early:
            before = records.collection(early, "people")
            gallery.enroll("people", "second", [new_face(2)], embedder=EMBEDDER, metadata={"a": 1})
            with gallery._store.read() as late:
                assert selections.of(late, records.collection(late, "people"), everybody).tolist() == [1, 2]
            assert selections.of(early, before, everybody).tolist() == [1]


def test_memory_of_filters_is_bounded(gallery: LocalGallery, new_face: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections_module, "_KEPT_KEYS", 10)
    for number in range(4):
        gallery.enroll("people", f"p{number}", [new_face(number)], embedder=EMBEDDER, metadata={"a": 1})
    selections = Selections()
    with gallery._store.read() as connection:
        row = records.collection(connection, "people")
        for number in range(20):
            chosen = Filter.of({"a": [1, f"{number}"]})
            assert selections.of(connection, row, chosen).tolist() == [1, 2, 3, 4]
            assert sum(len(kept.keys) for kept in selections._kept.values()) <= 10
