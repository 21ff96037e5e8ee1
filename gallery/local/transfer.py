"""Collections as records: out for a backup or a move, and in again. Both ways streamed, in constant memory.

The records are a header, then each identity followed by its faces, then an end with the counts.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from gallery.local import face_records, limits, records, templates
from gallery.local.face_records import FaceRow
from gallery.local.records import CollectionRow, IdentityRow
from gallery.local.store import Store
from gallery.local.tenants import ensure
from gallery.names import check_collection, check_embeddings, check_identity
from gallery.types import (
    IdentityExistsError,
    IdentityNotFoundError,
    Imported,
    InvalidEmbeddingError,
    InvalidNameError,
    InvalidRecordError,
    ModelMismatchError,
    NewFace,
    Terms,
)

FORMAT = "faceserve-gallery-1"
_PAGE = 100
_BATCH = 200
_HEX_32 = re.compile(r"[0-9a-f]{32}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")

Record = Mapping[str, Any]
_Row = TypeVar("_Row", IdentityRow, FaceRow)


def exported(store: Store, name: str) -> Iterator[dict[str, Any]]:
    """The collection's records. Each page is read by itself, so no erase waits for a slow reader of this.

    An identity goes out under the name it has when its turn comes; one erased before its turn does not. Raises
    ModelMismatchError when the collection becomes another embedder's on the way.
    """
    with store.read() as connection:
        row = records.collection(connection, name)
    about = row.collection
    yield {
        "type": "collection",
        "format": FORMAT,
        "collection": about.name,
        "embedder": about.embedder,
        "dimension": about.dimension,
        "scoring": about.scoring,
        "max_identities": about.max_identities,
        "max_faces": about.max_faces,
    }
    identities = faces = 0
    for identity in _paged(store, row, records.identities_after, row.key):
        identities += 1
        yield _identity_record(identity)
        for face in _paged(store, row, face_records.faces_of, identity.key):
            faces += 1
            yield _face_record(face)
    yield {"type": "end", "identities": identities, "faces": faces}


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
    with _placed(number), store.write() as connection:
        name, dimension, terms = _checked_header(header, embedder)
        row = ensure(connection, collection or check_collection(name), embedder, dimension, terms)
    arrival = _Arrival(row)
    while batch := list(islice(stream, _BATCH)):
        with store.write() as connection:
            arrival.take(connection, batch)
    return arrival.result()


class _Arrival:
    """An import under way: the identity whose faces come next, and the counts."""

    def __init__(self, row: CollectionRow) -> None:
        self._row = row
        self._owner: IdentityRow | None = None
        self._seen = {"identity": 0, "face": 0}
        self._new = {"identity": 0, "face": 0}
        self._ended = False

    def take(self, connection: sqlite3.Connection, batch: list[tuple[int, Record]]) -> None:
        records.again(connection, self._row)
        if self._owner and records.find_tag(connection, self._row.key, self._owner.tag) is None:
            raise IdentityNotFoundError(f"identity {self._owner.name!r} was deleted while it was imported")
        for number, record in batch:
            with _placed(number):
                if self._ended:
                    raise ValueError("there is a record after the end")
                kind = record["type"]
                if kind == "end":
                    self._end(record)
                    continue
                self._seen[kind] += 1
                self._new[kind] += (
                    self._identity(connection, record) if kind == "identity" else self._face(connection, record)
                )

    def result(self) -> Imported:
        if not self._ended:
            raise InvalidRecordError(
                f"the export ends without its end record, after {self._seen['identity']} identities and "
                f"{self._seen['face']} faces: it was cut short; export again"
            )
        skipped = self._seen["face"] - self._new["face"]
        return Imported(self._row.collection.name, self._new["identity"], self._new["face"], skipped)

    def _end(self, record: Record) -> None:
        for kind, key in (("identity", "identities"), ("face", "faces")):
            if record[key] != self._seen[kind]:
                raise ValueError(f"the end record says {record[key]} {key}, but {self._seen[kind]} came before it")
        self._ended = True

    def _identity(self, connection: sqlite3.Connection, record: Record) -> bool:
        """Whether the identity is new. It is known by its id, so that one renamed since is still the same person."""
        tag, name = bytes.fromhex(_matching(_HEX_32, record["id"])), check_identity(record["identity"])
        created_at = _timestamp(record["created_at"])
        self._owner = records.find_tag(connection, self._row.key, tag)
        if self._owner:
            return False
        if records.find_identity(connection, self._row.key, name):
            raise IdentityExistsError(
                f"{name!r} is already another identity of collection {self._row.collection.name!r}, and may be another "
                "person: rename or delete it, or import into another collection"
            )
        self._owner = records.add_identity(
            connection, self._row.key, name, dict(record["metadata"]), tag=tag, created_at=created_at
        )
        limits.refuse_identity_over(connection, self._row)
        return True

    def _face(self, connection: sqlite3.Connection, record: Record) -> bool:
        if self._owner is None:
            raise ValueError("a face comes before any identity")
        face_id, created_at = bytes.fromhex(_matching(_HEX_32, record["face_id"])), _timestamp(record["created_at"])
        face = _new_face(record, self._row.collection.dimension)
        if face_records.has_face(connection, self._row.key, face_id):
            return False
        if face_records.same_picture(connection, self._owner, face.source_sha256):
            return False
        face_records.add_face(connection, self._row.key, self._owner, face, face_id=face_id, created_at=created_at)
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
            if page and page[-1].key <= last:  # else a damaged page could have us read it for ever
                raise sqlite3.DatabaseError("malformed: keys are out of order")
        if not page:
            return
        yield from page
        last = page[-1].key


def _identity_record(row: IdentityRow) -> dict[str, Any]:
    return {
        "type": "identity",
        "id": row.tag.hex(),
        "identity": row.name,
        "metadata": records.loads(row.metadata),
        "created_at": row.created_at,
    }


def _face_record(row: FaceRow) -> dict[str, Any]:
    return {
        "type": "face",
        "face_id": row.id.hex(),
        "created_at": row.created_at,
        "source_sha256": row.source_sha256.hex(),
        "quality": records.loads(row.quality),
        "embedding": base64.b64encode(row.embedding).decode(),
        "crop_png": None if row.crop_png is None else base64.b64encode(row.crop_png).decode(),
    }


def _checked_header(header: Record, embedder: str) -> tuple[str, int, Terms]:
    if header["type"] != "collection" or header["format"] != FORMAT:
        raise ValueError(f"expected the header of a {FORMAT!r} export")
    if header["embedder"] != embedder:
        raise ModelMismatchError(
            f"the export holds embeddings of model {header['embedder']}, not of {embedder}: use that model, or enrol "
            "the pictures again",
            collection=None,
            made_by=str(header["embedder"]),
            asked=embedder,
        )
    # Earlier exports say nothing of these: there was no choice then.
    terms = Terms(header.get("scoring", "max"), header.get("max_identities"), header.get("max_faces"))
    return str(header["collection"]), int(header["dimension"]), terms


def _new_face(record: Record, dimension: int) -> NewFace:
    embedding = np.frombuffer(base64.b64decode(record["embedding"], validate=True), "<f4").astype(np.float32)
    crop = record["crop_png"]
    return NewFace(
        embedding=check_embeddings(embedding[np.newaxis], dimension)[0],
        source_sha256=_matching(_HEX_64, record["source_sha256"]),
        quality={str(name): float(value) for name, value in record["quality"].items()},
        crop_png=None if crop is None else base64.b64decode(crop, validate=True),
    )


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not {pattern.pattern}")
    return text


def _timestamp(text: str) -> str:
    datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text


@contextmanager
def _placed(number: int) -> Iterator[None]:
    """Says of a malformed record which one it is."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, InvalidNameError, InvalidEmbeddingError) as error:
        raise InvalidRecordError(f"record {number} of the export: {error!r}") from error
