"""One identity at a time: shown, renamed, described, erased."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import TypeVar

from gallery.gallery import MAX_PAGE
from gallery.milvus import erasing, faces, people, records
from gallery.milvus.bindings import Bindings, Bound
from gallery.milvus.connection import Connection
from gallery.milvus.faces import FaceRow
from gallery.milvus.records import Person
from gallery.names import check_identity, check_moment
from gallery.types import Identity, InvalidCursorError, Metadata, Page

_CURSOR = re.compile(rb"m([0-9a-f]{32})")
T = TypeVar("T")


class Individuals:
    """The part of `MilvusGallery` that concerns single identities."""

    def __init__(self, connection: Connection, bindings: Bindings) -> None:
        self._connection = connection
        self._bindings = bindings

    def identity(self, collection: str, name: str) -> Identity:
        return self._with(collection, name, self._shown)

    def identities(self, collection: str, *, cursor: str | None = None, limit: int = 100) -> Page:
        """In an order of its own, which is not that of enrolment."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit is {limit}, expected 1 to {MAX_PAGE}")
        after = _decoded(cursor)
        return self._bindings.on(collection, lambda bound: self._page(bound, after, limit))

    def update_identity(
        self,
        collection: str,
        name: str,
        *,
        new_name: str | None = None,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Identity:
        wanted = None if new_name is None else check_identity(new_name)
        moment = check_moment(expires_at)

        def work(bound: Bound, person: Person) -> Identity:
            rows = [] if metadata is None else [records.described(bound, person.id, metadata)]
            rows += [] if moment is None else [records.expiring(person.id, moment)]
            if wanted is not None and wanted != person.name:
                people.rename(self._connection, bound, person, wanted, rows)
            else:
                self._connection.upsert(bound.records, rows)
            return self._confirmed(bound, person)

        return self._with(collection, name, work)

    def delete_identity(self, collection: str, name: str) -> int:
        """No row of the identity is left; Milvus removes their bytes from its files when it compacts them."""
        return self._with(collection, name, lambda bound, person: erasing.erase(self._connection, bound, person.id))

    def delete_face(self, collection: str, name: str, face_id: str) -> None:
        def work(bound: Bound, person: Person) -> None:
            row = faces.require(self._connection, bound, person.id, person.name, face_id)
            erasing.erase_face(self._connection, bound, row)

        self._with(collection, name, work)

    def crop(self, collection: str, name: str, face_id: str) -> bytes | None:
        def work(bound: Bound, person: Person) -> bytes | None:
            row = faces.require(self._connection, bound, person.id, person.name, face_id)
            return faces.crops(self._connection, bound, [row]).get(row.pk)

        return self._with(collection, name, work)

    def _with(self, collection: str, name: str, work: Callable[[Bound, Person], T]) -> T:
        """Raises IdentityNotFoundError."""
        composed = check_identity(name)
        return self._bindings.on(
            collection, lambda bound: work(bound, people.require(self._connection, bound, composed))
        )

    def _shown(self, bound: Bound, person: Person) -> Identity:
        return _identity(person, faces.read_of(self._connection, bound, [person.id])[person.id])

    def _confirmed(self, bound: Bound, person: Person) -> Identity:
        """The identity as it is now; what was written about somebody erased meanwhile goes too."""
        rows = records.read_of(self._connection, bound, [person.id])
        now = records.people(rows).get(person.id)
        if now is None:
            records.remove(self._connection, bound.records, {row.pk: row.stamp for row in rows})
            raise people.missing(bound, person.name)
        return self._shown(bound, now)

    def _page(self, bound: Bound, after: str, limit: int) -> Page:
        found: list[Person] = []
        last: str | None = after
        while last is not None and len(found) <= limit:
            living, last = people.page(self._connection, bound, last, limit + 1)
            found += living
        more, found = len(found) > limit, found[:limit]
        own = faces.read_of(self._connection, bound, [person.id for person in found])
        page = tuple(_identity(person, own[person.id]) for person in found)
        return Page(page, _encoded(found[-1].id) if more else None)


def _identity(person: Person, own: list[FaceRow]) -> Identity:
    shown = tuple(row.face() for row in own)
    return Identity(person.name, person.metadata, person.created_at, shown, person.expires_at)


def _encoded(id_: str) -> str:
    """Opaque, and without a name in it, for URLs end up in logs."""
    return base64.urlsafe_b64encode(b"m" + id_.encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> str:
    """The id a page ended with, "" for None; raises InvalidCursorError."""
    if cursor is None:
        return ""
    try:
        found = _CURSOR.fullmatch(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError:
        found = None
    if found is None:
        raise InvalidCursorError(f"cursor {cursor[:40]!r} is none of ours; begin again without one")
    return found[1].decode()
