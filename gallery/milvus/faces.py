"""The rows of faces, and the crops beside them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.milvus import records, schema
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import Connection, Fields, one_of, quoted
from gallery.milvus.records import CROP
from gallery.types import Face, FaceNotFoundError, NewFace, NotOfferedError

_CROPS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class FaceRow:
    """A face as it was read. `place` orders a person's faces; `embedding` only where it was asked for."""

    pk: str
    owner: str
    stamp: int
    face_id: str
    sha256: str
    created_at: str
    place: int
    quality: str
    crop: int
    embedding: NDArray[np.float32] | None = None

    def face(self) -> Face:
        return Face(self.face_id, self.created_at, self.sha256, json.loads(self.quality), self.crop > 0)


def key_of(bound: Bound, owner: str, sha256: str) -> str:
    """The same picture under the same identity has one key, so that it cannot be enrolled twice."""
    return bound.digest("face", owner, sha256)


def rows_of(
    bound: Bound, owner: str, face: NewFace, *, face_id: str, created_at: str, place: int
) -> tuple[list[Fields], Fields]:
    """What is written for a face: the rows of its crop, and then its own."""
    key = key_of(bound, owner, face.source_sha256)
    crop = [] if face.crop_png is None else records.texts(key, owner, CROP, base64.b64encode(face.crop_png).decode())
    quality = records.dumps({name: float(value) for name, value in face.quality.items()})
    if len(quality) > 8192:
        raise NotOfferedError(f"a face's quality takes {len(quality)} characters, at most 8192 are kept")
    row = {
        "pk": key,
        "owner": owner,
        "stamp": records.new_stamp(),
        "face_id": face_id,
        "sha256": face.source_sha256,
        "created_at": created_at,
        "place": place,
        "quality": quality,
        "crop": len(crop),
        "embedding": face.embedding,
    }
    return crop, row


def places(number: int) -> range:
    """That many places, after all that were given by clocks that agree."""
    start = time.time_ns()
    return range(start, start + number)


def read(connection: Connection, bound: Bound, where: str, *, embeddings: bool = False) -> list[FaceRow]:
    """In the order they came to be."""
    fields = [*schema.FACE_FIELDS, *(["embedding"] if embeddings else [])]
    found = []
    for row in connection.rows(bound.faces, where, fields):
        told = {name: row[name] for name in ("pk", *schema.FACE_FIELDS)}
        vector = np.asarray(row["embedding"], np.float32) if embeddings else None
        found.append(FaceRow(**told, embedding=vector))
    return sorted(found, key=lambda row: (row.place, row.pk))


def read_of(
    connection: Connection, bound: Bound, owners: Iterable[str], *, embeddings: bool = False
) -> dict[str, list[FaceRow]]:
    """The faces of each owner."""
    found: dict[str, list[FaceRow]] = {owner: [] for owner in owners}
    for chunk in records.chunks(sorted(found)):
        for row in read(connection, bound, one_of("owner", chunk), embeddings=embeddings):
            found[row.owner].append(row)
    return found


def known(connection: Connection, bound: Bound, keys: Sequence[str]) -> dict[str, str]:
    """The face ids of those keys that there are."""
    found = {}
    for chunk in records.chunks(sorted(set(keys))):
        for row in connection.rows(bound.faces, one_of("pk", chunk), ["face_id"]):
            found[row["pk"]] = row["face_id"]
    return found


def require(connection: Connection, bound: Bound, owner: str, name: str, face_id: str) -> FaceRow:
    """Raises FaceNotFoundError."""
    found = [row for row in read(connection, bound, f"owner == {quoted(owner)}") if row.face_id == face_id]
    if not found:
        raise FaceNotFoundError(f"identity {name!r} of collection {bound.name!r} has no face {face_id[:80]!r}")
    return found[0]


def crops(connection: Connection, bound: Bound, rows: Sequence[FaceRow]) -> dict[str, bytes]:
    """The PNGs kept with those faces, by their keys."""
    found = {}
    kept = {row.pk: row for row in rows if row.crop}
    for chunk in records.chunks(sorted(kept), _CROPS_AT_ONCE):
        pieces = [f"{CROP}{key}/{number:06d}" for key in chunk for number in range(kept[key].crop)]
        read_ = records.read(connection, bound, one_of("pk", pieces))
        for key in chunk:
            text = records.joined(row for row in read_ if row.pk.startswith(CROP + key))
            if text is not None:
                found[key] = base64.b64decode(text.body)
    return found
