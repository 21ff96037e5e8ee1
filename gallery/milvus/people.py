"""Who bears a name, and how a name changes hands where nothing can be locked.

A new identity's id is a digest of its name, so that two services which enrol one person for the first time at once
write the same rows. Where that id is of somebody renamed since, the next one is taken. A rename is written, then
looked at again: whoever then sees another bearer of the name gives way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

from gallery.milvus import records
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import Connection, Fields, quoted
from gallery.milvus.records import BORN, OF_A_PERSON, Person, Row
from gallery.types import IdentityExistsError, IdentityNotFoundError

PATIENCE_S = 2.0
"""How long an enrolment waits for a rename to the same name to be finished or given up."""


@dataclass(frozen=True, slots=True)
class Found:
    """Who bears a name. `others` bear it too, because a rename is under way or was cut short; `leftover` are rows under
    the id that a new identity of that name gets."""

    person: Person | None
    others: tuple[Person, ...]
    new_id: str
    leftover: tuple[Row, ...]


def find(connection: Connection, bound: Bound, name: str) -> Found:
    """`name` is checked. One look where nobody of the name was ever renamed, else two or more."""
    guess = new_id(bound, name, 0)
    rows = records.read(
        connection,
        bound,
        f"(named == {quoted(bound.digest('name', name))} or owner == {quoted(guess)}) and {OF_A_PERSON}",
    )
    others = {row.owner for row in rows} - {guess}
    if others:
        rows = [row for row in rows if row.owner == guess] + records.read_of(connection, bound, others)
    known = records.people(rows)
    # Those who were born with the name come first: who came by it later had to look whether it was free.
    bearing = sorted(
        (person for person in known.values() if person.name == name),
        key=lambda person: (person.is_past, person.first_name != name, person.created_at, person.id),
    )
    if bearing:
        others_ = tuple(person for person in bearing[1:] if not person.is_past)
        return Found(bearing[0], others_, bearing[0].id, ())
    return _free(connection, bound, name, known, rows)


def _free(connection: Connection, bound: Bound, name: str, known: dict[str, Person], rows: list[Row]) -> Found:
    for number in count():
        id_ = new_id(bound, name, number)
        own = [row for row in rows if row.owner == id_] if number == 0 else records.read_of(connection, bound, [id_])
        if id_ not in (known if number == 0 else records.people(own)):
            return Found(None, (), id_, tuple(own))
    raise AssertionError  # count() does not end


def new_id(bound: Bound, name: str, number: int) -> str:
    return bound.digest("identity", name, str(number))


def require(connection: Connection, bound: Bound, name: str) -> Person:
    """Raises IdentityNotFoundError."""
    person = find(connection, bound, name).person
    if person is None or person.is_past:
        raise missing(bound, name)
    return person


def of(connection: Connection, bound: Bound, id_: str) -> Person | None:
    """Whoever has that id; None for the erased and the expired."""
    person = records.people(records.read_of(connection, bound, [id_])).get(id_)
    return None if person is None or person.is_past else person


def page(connection: Connection, bound: Bound, after: str, limit: int) -> tuple[list[Person], str | None]:
    """The living among the next `limit` identities by rising id, from the first past `after`; and the last id that was
    looked at, None at the end."""
    key = BORN + after if after else ""
    rows = connection.page(bound.records, f"kind == {quoted(BORN)}", ["owner"], after=key, limit=limit)
    owners = [str(row["owner"]) for row in rows]
    known = records.people(records.read_of(connection, bound, owners))
    living = [known[owner] for owner in owners if owner in known and not known[owner].is_past]
    return living, owners[-1] if len(rows) == limit else None


def missing(bound: Bound, name: str) -> IdentityNotFoundError:
    return IdentityNotFoundError(f"there is no identity {name!r} in collection {bound.name!r}")


def rename(connection: Connection, bound: Bound, person: Person, name: str, beside: list[Fields]) -> None:
    """Writes the new name and the rows `beside` it at once. Raises IdentityExistsError, after which the person is as
    it was."""
    if _is_another(find(connection, bound, name), person):
        raise _taken(bound, name)
    connection.upsert(bound.records, [records.named(bound, person.id, name), *beside])
    if _is_another(find(connection, bound, name), person):
        before = [
            records.named(bound, person.id, person.name),
            records.described(bound, person.id, person.metadata),
            records.expiring(person.id, person.expires_at),
        ]
        written = {row["pk"] for row in beside} | {before[0]["pk"]}
        connection.upsert(bound.records, [row for row in before if row["pk"] in written])
        raise _taken(bound, name)


def settled(connection: Connection, bound: Bound, name: str) -> Found:
    """Who bears the name once no second one does, or after a while of waiting for that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = find(connection, bound, name)
        if not found.others or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _is_another(found: Found, person: Person) -> bool:
    bearers = (found.person, *found.others)
    return any(one is not None and one.id != person.id and not one.is_past for one in bearers)


def _taken(bound: Bound, name: str) -> IdentityExistsError:
    return IdentityExistsError(f"{name!r} is already an identity of collection {bound.name!r}")
