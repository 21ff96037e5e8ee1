"""Collections out as records and in again, both ways streamed, in constant memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from gallery import exchange
from gallery.exchange import Incoming, NewRecord, Record, Tally, placed
from gallery.local import face_records, limits, records, templates
from gallery.local.face_records import FaceRow
from gallery.local.records import CollectionRow, IdentityRow
from gallery.local.storage_faults import require_rising
from gallery.local.store import Store
from gallery.local.tenants import ensure
from gallery.names import check_collection
from gallery.types import IdentityExistsError, IdentityNotFoundError, Imported, InvalidRecordError

_PAGE = 100
_BATCH = 200
_Row = TypeVar("_Row", IdentityRow, FaceRow)


def exported(store: Store, name: str) -> Iterator[NewRecord]:
    """The collection's records. Each page is read by itself, so no erase waits for a slow reader of this.

    An identity goes out under the name it has when its turn comes; one erased before its turn does not. Raises
    ModelMismatchError when the collection becomes another embedder's on the way.
    """
    with store.read() as connection:
        row = records.collection(connection, name)
    yield exchange.header(row.collection)
    tally = Tally()
    for record in _exported(store, row):
        tally.add(record)
        yield record
    yield tally.end()


def _exported(store: Store, row: CollectionRow) -> Iterator[NewRecord]:
    for identity in _paged(store, row, records.identities_after, row.key):
        metadata = records.loads(identity.metadata)
        yield exchange.identity_record(identity.tag, identity.name, metadata, identity.created_at, identity.expires_at)
        for face in _paged(store, row, face_records.faces_of, identity.key):
            quality = records.loads(face.quality)
            yield exchange.face_record(
                face.id, face.created_at, face.source_sha256, quality, face.embedding, face.crop_png
            )


def imported(store: Store, lines: Iterable[Record], *, embedder: str, collection: str | None) -> Imported:
    """Takes records of `exported` in, a batch a transaction. Safe to run again: what is there already is skipped.

    Raises InvalidRecordError, ModelMismatchError, and IdentityExistsError when a name is another person's here.
    """
    stream = iter(enumerate(lines, 1))
    number, header = next(stream, (0, None))
    if header is None:
        raise InvalidRecordError("the export is empty: expected a header first")
    if collection is not None:
        check_collection(collection)
    with placed(number), store.write() as connection:
        name, dimension, terms = exchange.checked_header(header, embedder)
        row = ensure(connection, collection or check_collection(name), embedder, dimension, terms)
    arrival = _Arrival(row)
    while batch := list(islice(stream, _BATCH)):
        with store.write() as connection:
            arrival.take(connection, batch)
        del batch  # else two are in memory while the next is read
    return arrival.result()


class _Arrival:
    """An import under way: the identity whose faces come next, and the counts."""

    def __init__(self, row: CollectionRow) -> None:
        self._row = row
        self._owner: IdentityRow | None = None
        self._incoming = Incoming()
        self._identities = 0
        self._faces = 0

    def take(self, connection: sqlite3.Connection, batch: list[tuple[int, Record]]) -> None:
        records.again(connection, self._row)
        if self._owner and records.find_tag(connection, self._row.key, self._owner.tag) is None:
            if not exchange.is_past(self._owner.expires_at):
                raise IdentityNotFoundError(f"identity {self._owner.name!r} was deleted while it was imported")
            self._owner = None
        for number, record in batch:
            with placed(number):
                self._take(connection, number, record)

    def _take(self, connection: sqlite3.Connection, number: int, record: Record) -> None:
        if not self._incoming.admit(number, record):
            return
        if record["type"] == "identity":
            self._identities += self._identity(connection, record)
        else:
            self._faces += self._face(connection, record)

    def result(self) -> Imported:
        """For the end, when all is written."""
        self._incoming.finish()
        skipped = self._incoming.faces - self._faces
        return Imported(self._row.collection.name, self._identities, self._faces, skipped)

    def _identity(self, connection: sqlite3.Connection, record: Record) -> bool:
        """Whether the identity is new. It is known by its id, so that one renamed since is still the same person; one
        that has expired since the export stays out."""
        arrived = exchange.identity_of(record)
        self._owner = records.find_tag(connection, self._row.key, arrived.id)
        if self._owner or exchange.is_past(arrived.expires_at):
            return False
        if records.find_identity(connection, self._row.key, arrived.name):
            raise IdentityExistsError(
                f"{arrived.name!r} is already another identity of collection {self._row.collection.name!r}, and may be "
                "another person: rename or delete it, or import into another collection"
            )
        self._owner = records.add_identity(
            connection,
            self._row.key,
            arrived.name,
            arrived.metadata,
            tag=arrived.id,
            created_at=arrived.created_at,
            expires_at=arrived.expires_at,
        )
        limits.refuse_identity_over(connection, self._row)
        return True

    def _face(self, connection: sqlite3.Connection, record: Record) -> bool:
        arrived = exchange.face_of(record, self._row.collection.dimension)
        if self._owner is None:  # it has expired
            return False
        if face_records.has_face(connection, self._row.key, arrived.id):
            return False
        if face_records.same_picture(connection, self._owner, arrived.face.source_sha256):
            return False
        face_records.add_face(
            connection, self._row.key, self._owner, arrived.face, face_id=arrived.id, created_at=arrived.created_at
        )
        limits.refuse_faces_over(connection, self._row, self._owner)
        templates.refresh(connection, self._row, self._owner)
        return True


def _paged(
    store: Store,
    row: CollectionRow,
    page_after: Callable[[sqlite3.Connection, int, int, int], list[_Row]],
    inside: int,
) -> Iterator[_Row]:
    last = 0
    while True:
        with store.read() as connection:
            records.again(connection, row)
            page = page_after(connection, inside, last, _PAGE)
            if page:
                require_rising(last, page[-1].key)
        if not page:
            return
        yield from page
        last = page[-1].key
