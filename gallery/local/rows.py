"""A copy of a collection's embeddings, as its searches see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.local import face_records, records, templates
from gallery.local.storage_faults import require_rising
from gallery.local.store import Store
from gallery.types import Collection

_PAGE_ROWS = 8192
_PAGE = "SELECT key, identity, id, embedding FROM faces WHERE collection = ? AND key > ? ORDER BY key LIMIT ?"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Faces (n,) int64, rising; identities (n,) int64; embeddings (n, D) float32 of unit length. The caller's own."""

    faces: NDArray[np.int64]
    identities: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.faces)

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        return Rows(self.faces[chosen], self.identities[chosen], self.embeddings[chosen])


def read_rows(store: Store, name: str) -> tuple[Collection, Rows]:
    """Page by page, so that nobody waits: what changes meanwhile is there or not. A collection that scores by the mean
    has its templates for rows.

    Raises CollectionNotFoundError, and StorageError where the database is damaged.
    """
    with store.read() as connection:
        found = records.collection(connection, name)
        row = records.collection(connection, templates.searched(found))
    faces, identities, last = list[int](), list[int](), 0
    embeddings: list[NDArray[np.float32]] = [np.empty((0, found.collection.dimension), np.float32)]
    while True:
        with store.read() as connection:
            records.again(connection, row)
            page = connection.execute(_PAGE, (row.key, last, _PAGE_ROWS)).fetchall()
            if page:
                require_rising(last, page[-1][0])
        if not page:
            break
        keys, owners, ids, blobs = zip(*page, strict=True)
        faces.extend(keys)
        identities.extend(owners)
        embeddings.append(face_records.embeddings(store.vault, ids, blobs))
        last = keys[-1]
    columns = np.array(faces, np.int64), np.array(identities, np.int64), np.concatenate(embeddings)
    return found.collection, Rows(*columns)
