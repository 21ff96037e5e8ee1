"""Collections as records: out for a backup or a move, and in again. Both ways streamed, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from gallery import exchange
from gallery.exchange import FaceRecord, IdentityRecord, Incoming, Record, Tally, placed
from gallery.milvus import erasing, faces, people, records
from gallery.milvus.bindings import Bindings, Bound
from gallery.milvus.connection import Connection, Fields, one_of
from gallery.milvus.faces import FaceRow
from gallery.milvus.records import OF_A_PERSON, Person
from gallery.names import check_collection
from gallery.types import Collection, IdentityExistsError, IdentityNotFoundError, Imported, InvalidRecordError

_PAGE = 100
_BATCH = 400
Arrived = tuple[int, IdentityRecord | FaceRecord]


def exported(connection: Connection, bindings: Bindings, name: str) -> Iterator[dict[str, Any]]:
    """The collection's records, each page as it is when its turn comes."""
    bound = bindings.read(name)
    yield exchange.header(described(bound, 0, 0))
    tally = Tally()
    last: str | None = ""
    while last is not None:
        told, last = bindings.on(name, partial(_page, connection, bound, last))
        for record in told:
            tally.add(record)
            yield record
    yield tally.end()


def _page(connection: Connection, begun: Bound, after: str, bound: Bound) -> tuple[list[dict[str, Any]], str | None]:
    """Records of the next identities, and the last id that was looked at; None at the end."""
    living, last = people.page(connection, _same(begun, bound), after, _PAGE)
    own = faces.read_of(connection, bound, [person.id for person in living], embeddings=True)
    return [record for person in living for record in _records(connection, bound, person, own[person.id])], last


def _records(connection: Connection, bound: Bound, person: Person, own: list[FaceRow]) -> Iterator[dict[str, Any]]:
    yield exchange.identity_record(
        bytes.fromhex(person.id), person.name, person.metadata, person.created_at, person.expires_at
    )
    crops = faces.crops(connection, bound, own)
    for row in own:
        embedding = np.asarray(row.embedding, "<f4").tobytes()
        sha256, face_id = bytes.fromhex(row.sha256), bytes.fromhex(row.face_id)
        quality = row.face().quality
        yield exchange.face_record(face_id, row.created_at, sha256, quality, embedding, crops.get(row.pk))


def described(bound: Bound, identities: int, faces_: int) -> Collection:
    return Collection(
        bound.name, bound.embedder, bound.dimension, bound.created_at, identities, faces_, ttl_s=bound.ttl_s
    )


def _same(bound: Bound, current: Bound) -> Bound:
    if bound.generation != current.generation:
        raise IdentityNotFoundError(f"collection {bound.name!r} was deleted and made again meanwhile")
    return current


# --- in


def imported(
    connection: Connection, bindings: Bindings, lines: Iterable[Record], *, embedder: str, collection: str | None
) -> Imported:
    """Takes records of `exported` in, a batch at a time. Safe to run again: what is there already is skipped."""
    stream = iter(enumerate(lines, 1))
    number, header = next(stream, (0, None))
    if header is None:
        raise InvalidRecordError("the export is empty: expected a header first")
    if collection is not None:
        check_collection(collection)
    with placed(number):
        name, dimension, terms = exchange.checked_header(header, embedder)
        bound = bindings.ensure(collection or check_collection(name), embedder, dimension, terms)
        if bound.dimension != dimension:
            raise ValueError(f"it holds embeddings of {dimension} numbers, the collection's have {bound.dimension}")
    arrival = _Arrival(connection, bound)
    while batch := list(islice(stream, _BATCH)):
        bindings.on(bound.name, partial(arrival.take, batch))
    return arrival.result()


@dataclass(slots=True)
class _Known:
    """What is there of all that a batch names, kept up to date while it is taken in."""

    people: dict[str, Person]
    bearers: dict[str, str]
    keys: set[str]
    face_ids: set[str]


@dataclass(slots=True)
class _Batch:
    """What a batch writes. `new` are the ids of identities that it adds, with their names."""

    records: list[Fields] = field(default_factory=list)
    faces: list[Fields] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    new: dict[str, str] = field(default_factory=dict)


class _Arrival:
    """An import under way: the identity whose faces come next, and the counts."""

    def __init__(self, connection: Connection, bound: Bound) -> None:
        self._connection = connection
        self._bound = bound
        self._owner: str | None = None
        self._incoming = Incoming()
        self._identities = 0
        self._faces = 0

    def take(self, batch: list[tuple[int, Record]], bound: Bound) -> None:
        _same(self._bound, bound)
        arrived: list[Arrived] = []
        error: Exception | None = None
        try:
            for number, record in batch:
                with placed(number):
                    self._parse(number, record, arrived)
        except InvalidRecordError as invalid:
            error = invalid
        self._store(bound, arrived)
        if error is not None:
            raise error

    def result(self) -> Imported:
        """For the end, when all is written."""
        self._incoming.finish()
        return Imported(self._bound.name, self._identities, self._faces, self._incoming.faces - self._faces)

    def _parse(self, number: int, record: Record, arrived: list[Arrived]) -> None:
        if not self._incoming.admit(number, record):
            return
        is_identity = record["type"] == "identity"
        arrived.append(
            (number, exchange.identity_of(record) if is_identity else exchange.face_of(record, self._bound.dimension))
        )

    def _store(self, bound: Bound, arrived: list[Arrived]) -> None:
        known, batch = self._known(bound, arrived), _Batch()
        if self._owner is not None and self._owner not in known.people:
            self._owner = None
            raise IdentityNotFoundError(f"an identity of collection {bound.name!r} was deleted while it was imported")
        try:
            for (number, one), place in zip(arrived, faces.places(len(arrived)), strict=True):
                with placed(number):
                    if isinstance(one, IdentityRecord):
                        self._identity(bound, one, known, batch)
                    else:
                        self._face(bound, one, place, known, batch)
        finally:  # what came before a record that cannot be taken stays
            self._write(bound, batch)

    def _known(self, bound: Bound, arrived: list[Arrived]) -> _Known:
        identities = [one for _, one in arrived if isinstance(one, IdentityRecord)]
        new = [one for _, one in arrived if isinstance(one, FaceRecord)]
        ids = {one.id.hex() for one in identities} | ({self._owner} if self._owner else set())
        known = records.people(records.read_of(self._connection, bound, ids))
        keys, owner = set(), self._owner
        for _, one in arrived:
            if isinstance(one, IdentityRecord):
                owner = one.id.hex()
            elif owner is not None:
                keys.add(faces.key_of(bound, owner, one.face.source_sha256))
        face_ids = sorted({one.id.hex() for one in new})
        there = faces.known(self._connection, bound, sorted(keys))
        same = self._connection.rows(bound.faces, one_of("face_id", face_ids), ["face_id"]) if face_ids else ()
        bearers = self._bearers(bound, {one.name for one in identities})
        return _Known(known, bearers, set(there), {row["face_id"] for row in same})

    def _bearers(self, bound: Bound, names: Iterable[str]) -> dict[str, str]:
        """The ids of the living identities that bear one of those names."""
        found: dict[str, str] = {}
        wanted = set(names)
        digests = sorted(bound.digest("name", name) for name in wanted)
        for chunk in records.chunks(digests):
            rows = records.read(self._connection, bound, f"{one_of('named', chunk)} and {OF_A_PERSON}")
            known = records.people(records.read_of(self._connection, bound, {row.owner for row in rows}))
            found |= {one.name: one.id for one in known.values() if one.name in wanted and not one.is_past}
        return found

    def _identity(self, bound: Bound, one: IdentityRecord, known: _Known, batch: _Batch) -> None:
        """It is known by its id, so that one renamed since is still the same person; one that has expired since the
        export stays out."""
        id_ = one.id.hex()
        self._owner = None
        if exchange.is_past(one.expires_at):
            return
        if id_ not in known.people:
            if known.bearers.get(one.name, id_) != id_:
                raise IdentityExistsError(
                    f"{one.name!r} is already another identity of collection {bound.name!r}, and may be another "
                    "person: rename or delete it, or import into another collection"
                )
            batch.records.append(records.born(bound, id_, one.name, one.created_at))
            if one.metadata:
                batch.records.append(records.described(bound, id_, one.metadata))
            if one.expires_at is not None:
                batch.records.append(records.expiring(id_, one.expires_at))
            known.people[id_] = Person(id_, one.name, one.name, one.created_at, one.metadata, one.expires_at)
            known.bearers[one.name] = batch.new[id_] = id_
            self._identities += 1
        self._owner = id_

    def _face(self, bound: Bound, one: FaceRecord, place: int, known: _Known, batch: _Batch) -> None:
        if self._owner is None:  # it has expired
            return
        key, face_id = faces.key_of(bound, self._owner, one.face.source_sha256), one.id.hex()
        if key in known.keys or face_id in known.face_ids:
            return
        crop, row = faces.rows_of(bound, self._owner, one.face, face_id=face_id, created_at=one.created_at, place=place)
        batch.records += crop
        batch.faces.append(row)
        batch.owners.add(self._owner)
        known.keys.add(key)
        known.face_ids.add(face_id)
        self._faces += 1

    def _write(self, bound: Bound, batch: _Batch) -> None:
        """Writes, and looks whether somebody was erased meanwhile."""
        self._connection.upsert(bound.records, batch.records)
        self._connection.upsert(bound.faces, batch.faces)
        there = records.people(records.read_of(self._connection, bound, batch.owners))
        for owner in sorted(batch.owners - there.keys()):
            erasing.erase(self._connection, bound, owner)
            raise IdentityNotFoundError(f"an identity of collection {bound.name!r} was deleted while it was imported")
