"""Does the index say what the database says? A slow, obvious comparison."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from gallery.local import face_records
from gallery.local.encryption import vault
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.flat import FlatIndex
from gallery.local.index.kinds import kept
from gallery.local.projection import Projections
from gallery.local.records import CollectionRow
from gallery.types import CollectionNotFoundError


def check(projections: Projections, names: Iterable[str]) -> list[str]:
    """The differences in the collections called so; one that is gone by now has none."""
    found: list[str] = []
    for name in names:
        with suppress(CollectionNotFoundError), projections.current(name) as view:
            found.extend(_differences(view.connection, view.row, view.index.flat))
            if isinstance(view.index.flat, ApproximateIndex) and not view.index.flat.proposes_all():
                found.append(f"collection {name!r}: the approximate index has other faces than the exact one")
    return found


def _differences(
    connection: sqlite3.Connection, row: CollectionRow, index: FlatIndex | ApproximateIndex
) -> Iterator[str]:
    """One line for each difference between the index's rows, or the collection's counts, and the tables."""
    collection, seen = row.collection, set[int]()
    for face, identity, embedding in index.rows():
        if face in seen:
            yield f"collection {collection.name!r}: face {face} is in the index twice"
        seen.add(face)
        stored = connection.execute(
            "SELECT identity, id, embedding FROM faces WHERE key = ? AND collection = ?", (face, row.key)
        ).fetchone()
        if stored is None:
            yield f"collection {collection.name!r}: face {face} is in the index but not in the database"
        elif stored[0] != identity:
            yield f"collection {collection.name!r}: face {face} is identity {stored[0]}, the index says {identity}"
        elif not _same(kept(face_records.embeddings(vault.of(connection), [stored[1]], [stored[2]])[0]), embedding):
            yield f"collection {collection.name!r}: face {face} has another embedding in the index"
    for (face,) in connection.execute("SELECT key FROM faces WHERE collection = ?", (row.key,)):
        if face not in seen:
            yield f"collection {collection.name!r}: face {face} is in the database but not in the index"
    for table, told in (("identities", collection.identities), ("faces", collection.faces)):
        counted = connection.execute(f"SELECT count(*) FROM {table} WHERE collection = ?", (row.key,)).fetchone()[0]
        if counted != told:
            yield f"collection {collection.name!r} has {counted} {table}, its count says {told}"


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and bool((one == other).all())
