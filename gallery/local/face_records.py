"""Faces in the truth: each function is a statement or two inside the caller's transaction."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.local import promises
from gallery.local.encryption import vault
from gallery.local.encryption.vault import Vault
from gallery.local.records import IdentityRow, dumps, loads, now
from gallery.types import Face, FaceNotFoundError, Identity, Match, NewFace


class FaceRow(NamedTuple):
    """A face in full, as it is exported."""

    key: int
    id: bytes
    created_at: str
    source_sha256: bytes
    quality: str
    embedding: bytes
    crop_png: bytes | None


def described(connection: sqlite3.Connection, row: IdentityRow) -> Identity:
    """The identity with its faces, oldest first."""
    faces = tuple(_faces(connection, row.key))
    return Identity(row.name, loads(row.metadata), row.created_at, faces, row.expires_at)


# An identity's template is a row under it too, but of another collection (see templates.py).
_OWN = "identity = ? AND collection = (SELECT collection FROM identities WHERE identities.key = identity)"


def _faces(connection: sqlite3.Connection, identity_key: int) -> Iterator[Face]:
    statement = (
        "SELECT id, created_at, source_sha256, quality, EXISTS (SELECT 1 FROM crops WHERE face = key) "
        f"FROM faces WHERE {_OWN} ORDER BY key"
    )
    for face_id, created_at, source, quality, has_crop in connection.execute(statement, (identity_key,)):
        yield Face(face_id.hex(), created_at, source.hex(), loads(quality), bool(has_crop))


def add_face(
    connection: sqlite3.Connection,
    collection_key: int,
    owner: IdentityRow,
    face: NewFace,
    *,
    face_id: bytes | None = None,
    created_at: str | None = None,
) -> bytes:
    """The new face's id."""
    id_, seal = face_id or uuid.uuid4().bytes, vault.of(connection).sealed
    statement = (
        "INSERT INTO faces (collection, identity, picture, created_at, tag, id, source_sha256, quality, embedding) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    blob = seal("embedding", id_, face.embedding.astype("<f4").tobytes())
    facts = (bytes.fromhex(face.source_sha256), dumps(face.quality), blob)
    values = (collection_key, owner.key, _picture(owner, face.source_sha256), created_at or now(), owner.tag, id_)
    key = connection.execute(statement, (*values, *facts)).lastrowid
    if face.crop_png is not None:
        crop = (key, owner.tag, id_, seal("crop", id_, face.crop_png))
        connection.execute("INSERT INTO crops (face, tag, id, png) VALUES (?, ?, ?, ?)", crop)
    return id_


def _picture(owner: IdentityRow, source_sha256: str) -> bytes:
    return hashlib.blake2b(bytes.fromhex(source_sha256), digest_size=16, key=owner.tag).digest()


def same_picture(connection: sqlite3.Connection, owner: IdentityRow, source_sha256: str) -> bytes | None:
    """The id of the identity's face from this very picture."""
    statement = "SELECT id FROM faces WHERE identity = ? AND picture = ?"
    row = connection.execute(statement, (owner.key, _picture(owner, source_sha256))).fetchone()
    return row[0] if row else None


def has_face(connection: sqlite3.Connection, collection_key: int, face_id: bytes) -> bool:
    statement = "SELECT 1 FROM faces WHERE collection = ? AND id = ?"
    return connection.execute(statement, (collection_key, face_id)).fetchone() is not None


def owner_of(connection: sqlite3.Connection, collection_key: int, face_id: str) -> int | None:
    """The key of the face's identity, None if the face is gone."""
    statement = "SELECT identity FROM faces WHERE collection = ? AND id = ?"
    row = connection.execute(statement, (collection_key, bytes.fromhex(face_id))).fetchone()
    return row[0] if row else None


def remove_face(connection: sqlite3.Connection, owner: IdentityRow, face_id: str) -> None:
    """Removes the face, its crop, and the stored answers that tell of it."""
    _remove(connection, _face_key(connection, owner, face_id), owner.key, face_id)
    promises.promise(connection, bytes.fromhex(face_id))


def _remove(connection: sqlite3.Connection, key: int, identity_key: int, face_id: str) -> None:
    connection.execute("DELETE FROM faces WHERE key = ?", (key,))
    statement = "DELETE FROM idempotency WHERE identity = ? AND instr(answer, CAST(? AS BLOB))"
    connection.execute(statement, (identity_key, face_id))


_WITHOUT_CROP = "WHERE faces.collection = ? AND NOT EXISTS (SELECT 1 FROM crops WHERE face = faces.key)"


def without_crop(connection: sqlite3.Connection, collection_key: int, names: int = 5) -> tuple[int, tuple[str, ...]]:
    """How many faces have no crop, and some of the people whose faces they are."""
    count: int = connection.execute(f"SELECT count(*) FROM faces {_WITHOUT_CROP}", (collection_key,)).fetchone()[0]
    statement = (
        f"SELECT DISTINCT name FROM faces JOIN identities ON identities.key = identity {_WITHOUT_CROP} LIMIT {names}"
    )
    return count, tuple(name for (name,) in connection.execute(statement, (collection_key,)))


def remove_without_crop(connection: sqlite3.Connection, collection_key: int) -> int:
    """Removes the faces that have no crop, and the stored answers that tell of them; how many there were."""
    statement, removed = f"SELECT key, identity, id FROM faces {_WITHOUT_CROP} LIMIT 1000", 0
    while found := connection.execute(statement, (collection_key,)).fetchall():
        for key, identity, face_id in found:
            _remove(connection, key, identity, face_id.hex())
        removed += len(found)
    if removed:
        promises.promise(connection)
    return removed


def crop(connection: sqlite3.Connection, owner: IdentityRow, face_id: str) -> bytes | None:
    key = _face_key(connection, owner, face_id)
    row = connection.execute("SELECT png FROM crops WHERE face = ?", (key,)).fetchone()
    return vault.of(connection).opened("crop", [bytes.fromhex(face_id)], [row[0]])[0] if row else None


def _face_key(connection: sqlite3.Connection, owner: IdentityRow, face_id: str) -> int:
    statement = f"SELECT key FROM faces WHERE {_OWN} AND lower(hex(id)) = ?"
    row = connection.execute(statement, (owner.key, face_id)).fetchone()
    if row is None:
        raise FaceNotFoundError(f"identity {owner.name!r} has no face {face_id[:40]!r}")
    key: int = row[0]
    return key


def faces_of(connection: sqlite3.Connection, identity_key: int, after: int, limit: int) -> list[FaceRow]:
    """Faces in full, oldest first, from the first past the key `after`."""
    statement = (
        "SELECT key, faces.id, created_at, source_sha256, quality, embedding, png "
        f"FROM faces LEFT JOIN crops ON crops.face = faces.key WHERE {_OWN} AND key > ? ORDER BY key LIMIT ?"
    )
    rows = [FaceRow(*row) for row in connection.execute(statement, (identity_key, after, limit))]
    return [_opened(connection, row) for row in rows] if vault.of(connection).seals else rows


def _opened(connection: sqlite3.Connection, row: FaceRow) -> FaceRow:
    opened = vault.of(connection).opened
    crop_png = None if row.crop_png is None else opened("crop", [row.id], [row.crop_png])[0]
    return row._replace(embedding=opened("embedding", [row.id], [row.embedding])[0], crop_png=crop_png)


def nearest(connection: sqlite3.Connection, owner: IdentityRow, query: NDArray[np.float32]) -> tuple[float, str]:
    """The best cosine of the (D,) float32 unit query to the identity's faces, and that face's id."""
    statement = f"SELECT id, embedding FROM faces WHERE {_OWN} ORDER BY key"
    rows = connection.execute(statement, (owner.key,)).fetchall()
    if not rows:
        raise FaceNotFoundError(f"identity {owner.name!r} has no face left; enrol one")
    similarities = embeddings(vault.of(connection), *zip(*rows, strict=True)) @ query
    best = int(np.argmax(similarities))
    return float(similarities[best].clip(-1, 1)), rows[best][0].hex()


def count_of(connection: sqlite3.Connection, owner: IdentityRow) -> int:
    """How many faces the identity has."""
    faces: int = connection.execute(f"SELECT count(*) FROM faces WHERE {_OWN}", (owner.key,)).fetchone()[0]
    return faces


def embeddings_of(connection: sqlite3.Connection, owner: IdentityRow) -> NDArray[np.float32]:
    """(n, D) float32 of the identity's faces, oldest first."""
    rows = connection.execute(f"SELECT id, embedding FROM faces WHERE {_OWN} ORDER BY key", (owner.key,)).fetchall()
    return embeddings(vault.of(connection), *zip(*rows, strict=True)) if rows else from_blobs([])


def matched(owner: IdentityRow, similarity: float, face_id: str) -> Match:
    return Match(owner.name, similarity, face_id, loads(owner.metadata))


def still_there(row: Any) -> Any:
    """The row of a face that the index has; only damage can take it away behind the index's back."""
    if row is None:
        raise sqlite3.DatabaseError("malformed: a face that nobody removed is gone")
    return row


def match(connection: sqlite3.Connection, face_key: int, similarity: float) -> Match:
    """What is known now of the face's identity."""
    statement = (
        "SELECT name, faces.id, metadata FROM faces JOIN identities ON identities.key = identity WHERE faces.key = ?"
    )
    name, face_id, metadata = still_there(connection.execute(statement, (face_key,)).fetchone())
    return Match(name, similarity, face_id.hex(), loads(metadata))


def embeddings(kept_in: Vault, face_ids: Sequence[bytes], blobs: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, D) float32 of n embeddings as they are stored, one for each of the faces. Raises StorageError for a sealed
    one that was changed, or is another face's."""
    return from_blobs(kept_in.opened("embedding", face_ids, blobs))


def from_blobs(blobs: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, D) float32 of n embeddings that are not sealed (any more)."""
    flat = np.frombuffer(b"".join(blobs), "<f4").astype(np.float32, copy=False)
    return flat.reshape(len(blobs), -1) if blobs else flat.reshape(0, 0)
