"""Who passes a filter, as it is remembered while people come, go and change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.filters import Filter
from gallery.local import records
from gallery.local import selections as selections_module
from gallery.local.gallery import LocalGallery
from gallery.local.selections import Selections, passing
from gallery.types import EraseIncompleteError, NewFace

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


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


def test_a_filter_asked_for_the_first_time_reads_page_by_page_and_misses_no_change(
    gallery: LocalGallery, folder: Path, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        gallery.enroll("people", f"p{number}", [new_face(number)], embedder=EMBEDDER, metadata={"a": 1})
    pages: list[tuple[int, int]] = []
    with LocalGallery(folder, erase_timeout_s=0) as other:

        def changing(connection: sqlite3.Connection, chosen: Filter, key: int, after: int, *_: Any, until: int) -> Any:
            found = passing(connection, chosen, key, after, until=until)
            pages.append((after, until))
            if len(pages) == 2:
                other.update_identity("people", "p0", metadata={"a": 2})
                other.enroll("people", "new", [new_face(99)], embedder=EMBEDDER, metadata={"a": 1})
                with pytest.raises(EraseIncompleteError):  # this page is being read still
                    other.delete_identity("people", "p1")
            return found

        with monkeypatch.context() as patch:
            patch.setattr(selections_module, "_PAGE_KEYS", 4)
            patch.setattr(selections_module, "passing", changing)
            gallery._searches._selections.prepare(gallery._store, "people", EMBEDDER, Filter.of({"a": 1}))
    assert pages == [(0, 4), (4, 8), (8, 10)]
    query = np.stack([new_face(number).embedding for number in (0, 1, 2, 99)])
    found = gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.99, chosen=Filter.of({"a": 1}))
    assert [[match.identity for match in matches] for matches in found] == [[], [], ["p2"], ["new"]]


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
