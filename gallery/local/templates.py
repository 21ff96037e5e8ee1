"""The templates of a collection that scores by the mean: one embedding an identity, which is what a search looks at.

They are the faces of a hidden collection beside the collection, under the same identities. So what is promised of faces
(the change log, an index that follows it, snapshots, erasure) holds for templates without another word. A template is
replaced in the transaction that adds or removes one of its identity's faces.
"""

from __future__ import annotations

import sqlite3
import uuid

import numpy as np
from numpy.typing import NDArray

from gallery.local import face_records, promises
from gallery.local.encryption import vault
from gallery.local.records import CollectionRow, IdentityRow, identity_of, now
from gallery.types import Match

_LEAST_LENGTH = 1e-3
_PAGE_ROWS = 1000
_HIDDEN = "SELECT key FROM collections WHERE templates_of = ?"
_ADD = (
    "INSERT INTO faces (collection, identity, picture, created_at, tag, id, source_sha256, quality, embedding) "
    "VALUES (?, ?, ?, ?, ?, ?, x'', '{}', ?)"
)
_BIND = """
UPDATE collections SET embedder = ?, dimension = ?, newest = (SELECT max(seq) FROM changes) WHERE key = ?
"""


def name_of(collection: str) -> str:
    """The hidden collection's name, which no client can give: it has a slash."""
    return f"{collection}/templates"


def searched(row: CollectionRow) -> str:
    """The name of the collection whose index answers for this one."""
    return name_of(row.collection.name) if row.collection.scoring == "mean" else row.collection.name


def mean(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (D,) float32 mean of n ≥ 1 unit rows (n, D), of unit length; where they cancel out, the first of them."""
    total = embeddings.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    unit: NDArray[np.float64] = total / length if length > _LEAST_LENGTH * len(embeddings) else embeddings[0]
    return unit.astype(np.float32)


def add_hidden(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """Makes the hidden collection beside a new one."""
    statement = "INSERT INTO collections (name, embedder, dimension, created_at, templates_of) VALUES (?, ?, ?, ?, ?)"
    about = row.collection
    values = (name_of(about.name), about.embedder, about.dimension, about.created_at, row.key)
    connection.execute(statement, values)


def refresh(connection: sqlite3.Connection, row: CollectionRow, owner: IdentityRow, *, erased: bool = False) -> None:
    """Makes the identity's template anew from its faces as they are now, where the collection has templates.

    `erased`: a face was removed, and what the old template kept of it is to leave the files too.
    """
    if row.collection.scoring != "mean":
        return
    hidden = _hidden(connection, row)
    statement = "SELECT key, id FROM faces WHERE collection = ? AND identity = ?"
    old_key, id_ = connection.execute(statement, (hidden, owner.key)).fetchone() or (None, uuid.uuid4().bytes)
    connection.execute("DELETE FROM faces WHERE key = ?", (old_key,))
    if erased and old_key is not None:
        promises.promise(connection, id_)  # all templates since the last removal go by this id
        id_ = uuid.uuid4().bytes
    _add(connection, hidden, owner, id_)


def rebuild(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """Makes all templates anew, for the embedder that the collection has now."""
    if row.collection.scoring != "mean":
        return
    hidden, last = _hidden(connection, row), 0
    connection.execute("INSERT INTO changes (collection, op, face) VALUES (?, 'renew', 0)", (hidden,))
    connection.execute(_BIND, (row.collection.embedder, row.collection.dimension, hidden))
    statement = "SELECT key FROM identities WHERE collection = ? AND key > ? ORDER BY key LIMIT ?"
    while page := connection.execute(statement, (row.key, last, _PAGE_ROWS)).fetchall():
        for (key,) in page:
            refresh(connection, row, identity_of(connection, key))
        last = page[-1][0]


def similarity(
    connection: sqlite3.Connection, row: CollectionRow, owner: IdentityRow, query: NDArray[np.float32]
) -> float:
    """The cosine of the (D,) float32 unit query to the template of an identity that has faces."""
    statement = "SELECT id, embedding FROM faces WHERE collection = ? AND identity = ?"
    id_, blob = connection.execute(statement, (_hidden(connection, row), owner.key)).fetchone()
    return float((face_records.embeddings(vault.of(connection), [id_], [blob])[0] @ query).clip(-1, 1))


def match(connection: sqlite3.Connection, identity: int, similarity: float, query: NDArray[np.float32]) -> Match:
    """What is known now of the identity whose template has that similarity; the face is the nearest of its faces."""
    owner = identity_of(connection, identity)
    _, face_id = face_records.nearest(connection, owner, query)
    return face_records.matched(owner, similarity, face_id)


def _hidden(connection: sqlite3.Connection, row: CollectionRow) -> int:
    key: int = connection.execute(_HIDDEN, (row.key,)).fetchone()[0]
    return key


def _add(connection: sqlite3.Connection, hidden: int, owner: IdentityRow, id_: bytes) -> None:
    embeddings = face_records.embeddings_of(connection, owner)
    if len(embeddings):
        blob = vault.of(connection).sealed("embedding", id_, mean(embeddings).astype("<f4").tobytes())
        connection.execute(_ADD, (hidden, owner.key, id_, now(), owner.tag, id_, blob))
