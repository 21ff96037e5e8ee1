"""A collection's index in this process, kept equal to the database."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.local import face_records, records, snapshots
from gallery.local.encryption import vault
from gallery.local.index import flat as index
from gallery.local.index.approximate import ApproximateIndex, over
from gallery.local.index.building import Builder, built
from gallery.local.index.flat import FlatIndex, Hit
from gallery.local.index.recipe import Recipe
from gallery.local.keeper import Keeper
from gallery.local.locks import ReadWriteLock
from gallery.local.records import CollectionRow
from gallery.local.snapshot_file import Stamp
from gallery.local.storage_faults import require_rising
from gallery.local.store import Store
from gallery.types import CollectionNotFoundError, ModelMismatchError

log = logging.getLogger("faceserve")

_LOAD_ROWS = 8192

_Row = tuple[Any, ...]
"""A face's key, its identity's, its embedding as it is stored, and its id where that is needed to open it."""
_PAGE = "SELECT key, identity, {} FROM faces WHERE collection = ? AND key > ? ORDER BY key LIMIT ?"
_CHANGES_SINCE = """
SELECT op, changes.face, faces.identity, faces.embedding, faces.id
FROM changes LEFT JOIN faces ON faces.key = changes.face
WHERE changes.collection = ? AND seq > ? ORDER BY seq
"""


@dataclass(frozen=True)
class Searchable:
    """An index, and the whole rows behind it, of the snapshot that it is equal to."""

    flat: FlatIndex | ApproximateIndex
    connection: sqlite3.Connection

    def search(
        self, queries: NDArray[np.float32], top_k: int, threshold: float, allowed: NDArray[np.int64] | None = None
    ) -> list[list[Hit]]:
        """`FlatIndex.search`."""
        return self.flat.search(queries, top_k, threshold, allowed, originals=self._originals)

    def _originals(self, faces: Sequence[int]) -> NDArray[np.float32]:
        statement = "SELECT id, embedding FROM faces WHERE key = ?"
        found = (self.connection.execute(statement, (face,)).fetchone() for face in faces)
        rows = [face_records.still_there(row) for row in found]
        return face_records.embeddings(vault.of(self.connection), *zip(*rows, strict=True))


@dataclass(frozen=True)
class View:
    """A snapshot of the database, the collection in it, and the index as of that very snapshot."""

    connection: sqlite3.Connection
    row: CollectionRow
    index: Searchable


class Projections:
    """This process's indexes, each made when its collection is first asked for. Any thread may use it.

    At most `at_once` searches scan one index at a time; more share the next scan. With a `recipe` large collections
    are searched approximately, once that index is made in the background.
    """

    def __init__(self, store: Store, *, at_once: int = 1, recipe: Recipe | None = None) -> None:
        self._store = store
        self._at_once = at_once
        self._recipe = recipe
        self._of: dict[str, Projection] = {}
        self._keeper = Keeper(store, self._adopt)
        self._builder = Builder()

    @contextmanager
    def current(self, name: str, *, embedder: str | None = None) -> Iterator[View]:
        """While the block lasts, nothing is added to or removed from the index.

        Raises CollectionNotFoundError, and ModelMismatchError if the collection is not the given embedder's; then its
        index is not even read.
        """
        try:
            new = Projection(self._store, name, self._at_once, self._recipe)
            projection = self._of.setdefault(name, new)
            with projection.current(embedder) as view:
                if self._keeper.wants(view.row, projection.snapshot_at):
                    self._keeper.wish(name)
                if projection.wants_building:
                    self._builder.wish(projection)
                yield view
        except (CollectionNotFoundError, ModelMismatchError):
            self.drop(name)
            raise

    def close(self) -> None:
        """Ends what goes on in the background; to be called before the store is closed. May be called twice."""
        self._keeper.close()
        self._builder.close()

    def _adopt(self, name: str) -> None:
        if projection := self._of.get(name):
            projection.adopt()

    def drop(self, name: str) -> None:
        self._of.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Lets go of the memory of all others."""
        for name in list(self._of):
            if name not in names:
                self.drop(name)


class Projection:
    """One collection's index, which follows the change log each time it is looked at. Any thread may look."""

    def __init__(self, store: Store, name: str, at_once: int = 1, recipe: Recipe | None = None) -> None:
        self._store = store
        self._name = name
        self._at_once = at_once
        self._recipe = recipe
        self._lock = ReadWriteLock()
        self._collection: int | None = None
        self._applied = 0
        self._index: FlatIndex | ApproximateIndex = FlatIndex(0)
        self.snapshot_at: int | None = None
        """The change at which the snapshot stood that the index was opened from, None if it was read from SQLite."""
        self._proven = True
        self._token, self._refused = "", ""  # of the snapshot that is used, and of one that is not

    @contextmanager
    def current(self, embedder: str | None) -> Iterator[View]:
        """Raises CollectionNotFoundError and ModelMismatchError.

        The lock is taken before the snapshot: the index stands still meanwhile, so it is never ahead of what is read.
        """
        with self._lock.read(), self._store.read() as connection:
            row = self._row(connection, embedder)
            if (row.key, row.newest) == (self._collection, self._applied) and self._proven:
                yield View(connection, row, Searchable(self._index, connection))
                return
        with self._lock.write():
            while True:
                with self._store.read() as connection:
                    row = self._row(connection, embedder)
                    if self._follow(connection, row) and self._is_whole(row):
                        self._lock.downgrade()
                        yield View(connection, row, Searchable(self._index, connection))
                        return
                self._load()

    def adopt(self) -> None:
        """Goes over to the collection's snapshot, if there is a newer one: its memory is shared with other processes.

        Searches wait for a moment only.
        """
        with self._store.read() as connection:
            row = records.collection(connection, self._name)
        loaded = self._opened(row)
        with self._lock.write():
            if loaded and self._collection == row.key and loaded[1].applied > (self.snapshot_at or -1):
                before = self._index
                self._take(row, *loaded)
                if isinstance(before, ApproximateIndex) and isinstance(self._index, ApproximateIndex):
                    self._index.inherit(before)

    @property
    def wants_building(self) -> bool:
        """Whether there is something for `improve` to make."""
        return isinstance(self._index, ApproximateIndex) and self._index.wants_building

    def improve(self, is_wanted: Callable[[], bool]) -> None:
        """Makes the approximate index, and has searches use it; they wait for moments only, to have rows copied.

        Raises GivenUpError soon after `is_wanted` says no.
        """
        index = self._index
        if not isinstance(index, ApproximateIndex) or not index.wants_building:
            return
        draft = built(index, self._lock.read, is_wanted)
        with self._lock.write():
            # A newer index of the same rows may have taken its place; one of another embedder must not take these.
            if isinstance(self._index, ApproximateIndex) and self._index.source == index.source:
                self._index.take(draft)
        log.info("%r is searched through %s: %d faces, %.0f MiB", self._name, index.recipe, len(draft), draft.mib)

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
        new = {face: rest for op, face, *rest in changes if op == "add" and rest[1] is not None}
        for op, face, *_ in changes:
            if op == "remove" and face in self._index:
                self._index.remove(face)
        missing = [(face, *rest) for face, rest in new.items() if face not in self._index]
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
        if loaded := self._opened(row):
            self._take(row, *loaded)
            return
        self._index = self._over(row, FlatIndex(row.collection.dimension, at_once=self._at_once))
        self.snapshot_at, self._proven = None, True
        statement, last = _PAGE.format(self._store.vault.columns), 0
        while True:
            with self._store.read() as connection:
                if records.collection(connection, self._name).collection.embedder != row.collection.embedder:
                    return
                page = connection.execute(statement, (row.key, last, _LOAD_ROWS)).fetchall()
                if page:
                    require_rising(last, page[-1][0])
            if not page:
                break
            self._add(page)
            last = page[-1][0]
        self._collection, self._applied = row.key, row.newest

    def _over(self, row: CollectionRow, flat: FlatIndex) -> FlatIndex | ApproximateIndex:
        return over(flat, self._recipe, row.collection.dimension, (row.key, row.collection.embedder))

    def _opened(self, row: CollectionRow) -> tuple[FlatIndex, Stamp] | None:
        found = snapshots.opened(self._store, row, index.SEGMENT_ROWS)
        if found is None or found[0].token == self._refused:
            return None
        stamp, segments = found
        opened = FlatIndex(row.collection.dimension, at_once=self._at_once)
        opened.adopt(segments, error=stamp.error, length=stamp.length)
        return opened, stamp

    def _take(self, row: CollectionRow, opened: FlatIndex, stamp: Stamp) -> None:
        self._index, self._collection, self._applied = self._over(row, opened), row.key, stamp.applied
        self.snapshot_at, self._proven, self._token = stamp.applied, False, stamp.token

    def _is_whole(self, row: CollectionRow) -> bool:
        """Whether an index from a snapshot, now that it is up to date, has as many rows as there are faces, and none
        that was wiped; if not, that snapshot is not used again."""
        if not self._proven:
            wiped = any(not identities.all() for _, identities, _ in self._index.columns())
            if wiped or len(self._index) != row.collection.faces:
                log.warning("the snapshot of %r does not agree with the database, and is not used", self._name)
                self._refused, self._collection = self._token, None
                return False
            self._proven = True
        return True

    def _add(self, rows: Sequence[_Row]) -> None:
        if rows:
            faces, identities, blobs, *ids = zip(*rows, strict=True)
            embeddings = face_records.embeddings(self._store.vault, ids[0] if ids else (), blobs)
            self._index.add(faces, identities, embeddings)
