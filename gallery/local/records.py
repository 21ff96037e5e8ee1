"""Collections and identities in the truth: each function is a statement or two inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from dataclasses import astuple
from datetime import datetime, timezone
from typing import Any, NamedTuple

from gallery.local import promises
from gallery.types import (
    Collection,
    CollectionNotFoundError,
    IdentityExistsError,
    IdentityNotFoundError,
    Metadata,
    ModelMismatchError,
    Terms,
)


class CollectionRow(NamedTuple):
    """A collection with its key, and the numbers of the newest change to its faces and to whose metadata is what."""

    key: int
    newest: int
    described: int
    collection: Collection

    def made_by(self, embedder: str) -> CollectionRow:
        """Itself; raises ModelMismatchError for another embedder's digest."""
        if embedder != self.collection.embedder:
            raise ModelMismatchError(
                f"collection {self.collection.name!r} holds embeddings of model {self.collection.embedder}, "
                f"not of {embedder}: use that model, or another collection, or make its embeddings anew",
                collection=self.collection.name,
                made_by=self.collection.embedder,
                asked=embedder,
            )
        return self


class IdentityRow(NamedTuple):
    """An identity with its key; `tag` marks every row that tells of the person (see erase.py)."""

    key: int
    tag: bytes
    name: str
    metadata: str
    created_at: str
    expires_at: float | None = None


_COLLECTION = (
    "SELECT key, newest, described, name, embedder, dimension, created_at, identities, faces, scoring, max_identities, "
    "max_faces, ttl_s FROM collections"
)
_IDENTITY = "SELECT key, tag, name, metadata, created_at, expires_at FROM identities"


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- collections


def collections(connection: sqlite3.Connection) -> list[CollectionRow]:
    """Those that clients know of, in name order."""
    rows = connection.execute(f"{_COLLECTION} WHERE templates_of IS NULL ORDER BY name").fetchall()
    return [_collection_row(row) for row in rows]


def _collection_row(row: tuple[Any, ...]) -> CollectionRow:
    key, newest, described, *rest = row
    return CollectionRow(key, newest, described, Collection(*rest))


def find_collection(connection: sqlite3.Connection, name: str) -> CollectionRow | None:
    row = connection.execute(f"{_COLLECTION} WHERE name = ?", (name,)).fetchone()
    return _collection_row(row) if row else None


def collection(connection: sqlite3.Connection, name: str) -> CollectionRow:
    if row := find_collection(connection, name):
        return row
    raise CollectionNotFoundError(f"there is no collection {name!r}; create it first")


def again(connection: sqlite3.Connection, row: CollectionRow) -> CollectionRow:
    """The collection as it is now; raises CollectionNotFoundError, ModelMismatchError if it is another embedder's now.

    For work in several transactions, which could otherwise mix two embedders' embeddings.
    """
    found = collection(connection, row.collection.name)
    if found.key != row.key:
        raise CollectionNotFoundError(f"collection {row.collection.name!r} was deleted meanwhile")
    return found.made_by(row.collection.embedder)


def add_collection(
    connection: sqlite3.Connection, name: str, embedder: str, dimension: int, terms: Terms
) -> CollectionRow:
    """A new one, without what stands beside it (see tenants.py)."""
    if dimension < 1:
        raise ValueError(f"an embedding has at least one dimension, not {dimension}")
    statement = (
        "INSERT INTO collections (name, embedder, dimension, created_at, scoring, max_identities, max_faces, ttl_s) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    connection.execute(statement, (name, embedder, dimension, now(), *astuple(terms)))
    return collection(connection, name)


def remove_collection(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM collections WHERE key = ?", (collection(connection, name).key,))
    promises.promise(connection)


# --- identities


def _digest(collection_key: int, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16, salt=collection_key.to_bytes(16, "little")).digest()


def find_identity(connection: sqlite3.Connection, collection_key: int, name: str) -> IdentityRow | None:
    statement = f"{_IDENTITY} WHERE collection = ? AND digest = ?"
    row = connection.execute(statement, (collection_key, _digest(collection_key, name))).fetchone()
    return IdentityRow(*row) if row else None


def find_tag(connection: sqlite3.Connection, collection_key: int, tag: bytes) -> IdentityRow | None:
    row = connection.execute(f"{_IDENTITY} WHERE collection = ? AND tag = ?", (collection_key, tag)).fetchone()
    return IdentityRow(*row) if row else None


def identity_of(connection: sqlite3.Connection, key: int) -> IdentityRow:
    """The identity with that key, which is there."""
    return IdentityRow(*connection.execute(f"{_IDENTITY} WHERE key = ?", (key,)).fetchone())


def identity(connection: sqlite3.Connection, inside: CollectionRow, name: str) -> IdentityRow:
    if row := find_identity(connection, inside.key, name):
        return row
    raise IdentityNotFoundError(f"there is no identity {name!r} in collection {inside.collection.name!r}")


def identities_after(connection: sqlite3.Connection, collection_key: int, after: int, limit: int) -> list[IdentityRow]:
    """In the order they were enrolled, from the first past the key `after`."""
    statement = f"{_IDENTITY} WHERE collection = ? AND key > ? ORDER BY key LIMIT ?"
    return [IdentityRow(*row) for row in connection.execute(statement, (collection_key, after, limit))]


def add_identity(
    connection: sqlite3.Connection,
    collection_key: int,
    name: str,
    metadata: Metadata,
    *,
    tag: bytes | None = None,
    created_at: str | None = None,
    expires_at: float | None = None,
) -> IdentityRow:
    """`expires_at` None is never."""
    row = IdentityRow(0, tag or uuid.uuid4().bytes, name, dumps(metadata), created_at or now(), expires_at)
    statement = (
        "INSERT INTO identities (collection, created_at, digest, tag, name, metadata, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    values = (collection_key, row.created_at, _digest(collection_key, name), row.tag, name, row.metadata, expires_at)
    key = connection.execute(statement, values).lastrowid
    assert key is not None
    return row._replace(key=key)


def set_metadata(connection: sqlite3.Connection, row: IdentityRow, metadata: Metadata) -> IdentityRow:
    changed = row._replace(metadata=dumps(metadata))
    connection.execute("UPDATE identities SET metadata = ? WHERE key = ?", (changed.metadata, row.key))
    return changed


def set_expiry(connection: sqlite3.Connection, row: IdentityRow, expires_at: float | None) -> IdentityRow:
    """None is never."""
    connection.execute("UPDATE identities SET expires_at = ? WHERE key = ?", (expires_at, row.key))
    return row._replace(expires_at=expires_at)


def rename(connection: sqlite3.Connection, inside: CollectionRow, row: IdentityRow, new_name: str) -> IdentityRow:
    taken = find_identity(connection, inside.key, new_name)
    if taken and taken.key != row.key:
        raise IdentityExistsError(f"{new_name!r} is already an identity of collection {inside.collection.name!r}")
    values = (new_name, _digest(inside.key, new_name), row.key)
    connection.execute("UPDATE identities SET name = ?, digest = ? WHERE key = ?", values)
    return row._replace(name=new_name)


def remove_identity(connection: sqlite3.Connection, collection_key: int, row: IdentityRow) -> int:
    """Removes all that tells of the identity, stored answers too; how many faces it had."""
    statement = "SELECT count(*) FROM faces WHERE identity = ? AND collection = ?"
    faces: int = connection.execute(statement, (row.key, collection_key)).fetchone()[0]
    connection.execute("DELETE FROM identities WHERE key = ?", (row.key,))
    promises.promise(connection, row.tag, _digest(collection_key, row.name))
    return faces


def loads(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value


def dumps(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
