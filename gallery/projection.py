"""A collection's index in this process, kept equal to the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gallery import face_records, records
from gallery.index import FlatIndex
from gallery.locks import ReadWriteLock
from gallery.records import CollectionRow
from gallery.store import Store
from gallery.types import CollectionNotFoundError, ModelMismatchError

_LOAD_ROWS = 8192

_CHANGES_SINCE = """
SELECT op, changes.face, faces.identity, faces.embedding
FROM changes LEFT JOIN faces ON faces.key = changes.face
WHERE changes.collection = ? AND seq > ? ORDER BY seq
"""


@dataclass(frozen=True)
class View:
    """A snapshot of the database, the collection in it, and the index as of that very snapshot."""

    connection: sqlite3.Connection
    row: CollectionRow
    index: FlatIndex


class Projections:
    """This process's indexes, each made when its collection is first asked for. Any thread may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of: dict[str, Projection] = {}

    @contextmanager
    def current(self, name: str, *, embedder: str | None = None) -> Iterator[View]:
        """While the block lasts, nothing is added to or removed from the index.

        Raises CollectionNotFoundError, and ModelMismatchError if the collection is not the given embedder's; then its
        index is not even read.
        """
        try:
            with self._of.setdefault(name, Projection(self._store, name)).current(embedder) as view:
                yield view
        except (CollectionNotFoundError, ModelMismatchError):
            self.drop(name)
            raise

    def drop(self, name: str) -> None:
        self._of.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Lets go of the memory of all others."""
        for name in list(self._of):
            if name not in names:
                self.drop(name)


class Projection:
    """One collection's index, which follows the change log each time it is looked at. Any thread may look."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._lock = ReadWriteLock()
        self._collection: int | None = None
        self._applied = 0
        self._index = FlatIndex(0)

    @contextmanager
    def current(self, embedder: str | None) -> Iterator[View]:
        """Raises CollectionNotFoundError and ModelMismatchError.

        The lock is taken before the snapshot: the index stands still meanwhile, so it is never ahead of what is read.
        """
        with self._lock.read(), self._store.read() as connection:
            row = self._row(connection, embedder)
            if (row.key, row.newest) == (self._collection, self._applied):
                yield View(connection, row, self._index)
                return
        with self._lock.write():
            while True:
                with self._store.read() as connection:
                    row = self._row(connection, embedder)
                    if self._follow(connection, row):
                        self._lock.downgrade()
                        yield View(connection, row, self._index)
                        return
                self._load()

    def _row(self, connection: sqlite3.Connection, embedder: str | None) -> CollectionRow:
        row = records.collection(connection, self._name)
        return row if embedder is None else row.made_by(embedder)

    def _follow(self, connection: sqlite3.Connection, row: CollectionRow) -> bool:
        """Applies what the log says happened since; False when the log no longer goes back that far, or says that all
        embeddings are others now."""
        if row.key != self._collection or row.newest < self._applied:
            return False
        oldest: int | None = connection.execute("SELECT min(seq) FROM changes").fetchone()[0]
        if row.newest > self._applied and (oldest is None or oldest > self._applied + 1):
            return False
        changes = connection.execute(_CHANGES_SINCE, (row.key, self._applied)).fetchall()
        if any(op == "renew" for op, *_ in changes):
            return False
        # A face added and removed since has no row any more; one that _load met may be there already.
        new = {face: (owner, blob) for op, face, owner, blob in changes if op == "add" and blob is not None}
        for op, face, _, _ in changes:
            if op == "remove" and face in self._index:
                self._index.remove(face)
        missing = [(face, owner, blob) for face, (owner, blob) in new.items() if face not in self._index]
        self._add(missing)
        self._applied = row.newest
        return True

    def _load(self) -> None:
        """Reads the collection anew, page by page so that no erase has to wait for the whole of it.

        What changes meanwhile is in the log after `_applied`, which `_follow` applies next. Given up when the
        collection becomes another embedder's on the way: the caller begins again.
        """
        self._collection = None
        with self._store.read() as connection:
            row = records.collection(connection, self._name)
        self._index = FlatIndex(row.collection.dimension)
        last = 0
        while True:
            with self._store.read() as connection:
                if records.collection(connection, self._name).collection.embedder != row.collection.embedder:
                    return
                page = connection.execute(
                    "SELECT key, identity, embedding FROM faces WHERE collection = ? AND key > ? ORDER BY key LIMIT ?",
                    (row.key, last, _LOAD_ROWS),
                ).fetchall()
            if not page:
                break
            self._add(page)
            last = page[-1][0]
        self._collection, self._applied = row.key, row.newest

    def _add(self, rows: list[tuple[int, int, bytes]]) -> None:
        if rows:
            faces, identities, blobs = zip(*rows, strict=True)
            self._index.add(faces, identities, face_records.from_blobs(blobs))
