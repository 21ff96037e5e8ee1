"""Who differs between two collections, against both read into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import differences
from app.differences import Side, differing
from gallery.exchange import Tally, face_record, identity_record
from gallery.gallery import Gallery

CREATED = "2026-01-01T00:00:00Z"
People = Mapping[int, tuple[int, Sequence[int]]]
"""id -> (metadata, faces)"""


@dataclass(frozen=True)
class Kept:
    """As much of a gallery as an export takes."""

    people: People

    def export(self, collection: str) -> Iterator[dict[str, Any]]:
        tally = Tally()
        yield {"type": "collection"}
        for number, (about, faces) in self.people.items():
            id_ = number.to_bytes(16, "big")
            for record in (
                identity_record(id_, f"person {number}", {"about": about}, CREATED),
                *(face_record(face.to_bytes(16, "big"), CREATED, bytes(32), {}, b"", None) for face in faces),
            ):
                tally.add(record)
                yield record
        yield tally.end()


def side(people: People) -> Side:
    return Side(cast(Gallery, Kept(people)), "people")


crowds = st.dictionaries(
    st.integers(0, 2**128 - 1) | st.integers(0, 20),
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, 5), unique=True)),
)


@given(crowds, crowds, st.randoms())
def test_those_are_named_who_are_not_alike(ours: People, changed: People, random: Any) -> None:
    theirs = {**ours, **changed}
    for number in [number for number in theirs if random.random() < 0.2]:
        del theirs[number]
    shuffled = list(theirs.items())
    random.shuffle(shuffled)
    wrong = [number for number in ours.keys() | theirs.keys() if _plain(ours.get(number)) != _plain(theirs.get(number))]
    told = differing(side(ours), side(dict(shuffled)), most=10**6)
    expected = {f"person {number}" for number in wrong}
    assert set(told) <= expected
    assert bool(told) == bool(expected)
    assert len(told) >= min(len(expected), differences._MOST_BUCKETS)


def _plain(person: tuple[int, Sequence[int]] | None) -> tuple[int, list[int]] | None:
    return person and (person[0], sorted(person[1]))


@pytest.mark.parametrize("most", [0, 1, 5])
def test_at_most_so_many_are_named(most: int) -> None:
    many: People = {number: (0, []) for number in range(100)}
    assert len(differing(side(many), side({}), most)) == most
    assert differing(side(many), side(many), most) == ()
