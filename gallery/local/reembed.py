"""A collection's embeddings made anew, with another embedder, from the crops that it keeps.

The new ones gather in a table beside the faces, a short transaction a batch, while the collection goes on as it is.
When every face has one, one transaction puts them in place and binds the collection to the new embedder: readers see
all old or all new, and writers wait (seconds for 100,000 faces). Who is enrolled meanwhile gets a larger key, and so is
met by the same pass or by that transaction. What has gathered outlives a crash, and the next run goes on from there; a
person erased takes the gathered rows along.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.local import erase, face_records, records, templates
from gallery.local.encryption import vault
from gallery.local.store import Store
from gallery.names import check_embeddings
from gallery.types import Reembedded, ReembedRefusedError, Survey, Target

_PAGE_ROWS = 1000

_CROPS = """
SELECT key, faces.id, {} FROM faces JOIN crops ON crops.face = key
WHERE collection = ? AND key > ? ORDER BY key LIMIT ?
"""
_HEADS, _WHOLE = _CROPS.format("substr(png, 1, 24)"), _CROPS.format("png")
_MISSING = """
SELECT key, faces.id, png FROM faces JOIN crops ON crops.face = key
WHERE collection = ? AND key > ?
AND NOT EXISTS (SELECT 1 FROM reembedded WHERE reembedded.face = key AND embedder = ?)
ORDER BY key LIMIT ?
"""
# A face erased since its crop was read has no row to select.
_GATHER = "INSERT OR REPLACE INTO reembedded SELECT key, tag, id, ?, ? FROM faces WHERE key = ?"
_GATHERED = "SELECT count(*) FROM faces JOIN reembedded ON face = key AND embedder = ? WHERE collection = ?"
_PAGE_END = "SELECT max(key) FROM (SELECT key FROM faces WHERE collection = ? AND key > ? ORDER BY key LIMIT ?)"
_PAGE = "SELECT key FROM faces WHERE collection = ? AND key > ? AND key <= ?"
_REPLACE = f"""
UPDATE faces
SET embedding = (SELECT made.embedding FROM reembedded made WHERE made.face = faces.key AND made.embedder = ?)
WHERE key IN ({_PAGE})
"""
_CLEAR = f"DELETE FROM reembedded WHERE face IN ({_PAGE})"
_BIND = "UPDATE collections SET embedder = ?, dimension = ?, newest = (SELECT max(seq) FROM changes) WHERE key = ?"


class _Crop(NamedTuple):
    face: int
    id: bytes
    png: bytes


def survey(store: Store, name: str) -> Survey:
    """Counts the crops by their sizes, in transactions short enough that no erase waits for them."""
    with store.read() as connection:
        row = records.collection(connection, name)
        without, named = face_records.without_crop(connection, row.key)
    sizes, last = Counter[tuple[int, int]](), 0
    # What is sealed can only be opened as a whole.
    statement, rows = (_WHOLE, _PAGE_ROWS // 10) if store.vault.seals else (_HEADS, _PAGE_ROWS)
    while True:
        with store.read() as connection:
            page = connection.execute(statement, (row.key, last, rows)).fetchall()
        if not page:
            return Survey(row.collection, without, named, dict(sizes))
        faces, ids, heads = zip(*page, strict=True)
        sizes.update(map(_size, store.vault.opened("crop", ids, heads)))
        last = faces[-1]


def _size(head: bytes) -> tuple[int, int]:
    """(height, width) of the PNG that begins so, (0, 0) for what is none."""
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return 0, 0
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


class Reembedding:
    """One run over one collection; see `Gallery.reembed`."""

    def __init__(self, store: Store, name: str, target: Target, made_by: str, *, drop: bool) -> None:
        if target.batch < 1:
            raise ValueError(f"a batch has at least one crop, not {target.batch}")
        self._store = store
        self._target = target
        self._drop = drop
        with store.read() as connection:
            self._row = records.collection(connection, name).made_by(made_by)

    def run(self, erase_timeout_s: float) -> Reembedded:
        """Gathers, until so little is left that the last transaction can embed it itself."""
        with self._store.read() as connection:
            self._refuse_without_crop(connection)
        while True:
            self._gather()
            with erase.erasing(self._store, erase_timeout_s) if self._drop else self._store.write() as connection:
                left = self._missing(connection, 0, self._target.batch + 1)
                if len(left) <= self._target.batch:
                    self._keep(connection, left, self._embedded(left))
                    return self._replace(connection)

    def _gather(self) -> None:
        last = 0
        with self._store.read() as connection:
            done: int = connection.execute(_GATHERED, (self._target.embedder, self._row.key)).fetchone()[0]
        while True:
            with self._store.read() as connection:
                faces = records.again(connection, self._row).collection.faces
                crops = self._missing(connection, last, self._target.batch)
            self._target.on_progress(done, faces)
            if not crops:
                return
            embeddings = self._embedded(crops)
            with self._store.write() as connection:
                records.again(connection, self._row)
                self._keep(connection, crops, embeddings)
            last, done = crops[-1].face, done + len(crops)

    def _missing(self, connection: sqlite3.Connection, after: int, limit: int) -> list[_Crop]:
        values = (self._row.key, after, self._target.embedder, limit)
        found = [_Crop(*row) for row in connection.execute(_MISSING, values)]
        opened = vault.of(connection).opened("crop", [crop.id for crop in found], [crop.png for crop in found])
        return [crop._replace(png=png) for crop, png in zip(found, opened, strict=True)]

    def _embedded(self, crops: Sequence[_Crop]) -> NDArray[np.float32]:
        if not crops:
            return np.empty((0, self._target.dimension), np.float32)
        embeddings = check_embeddings(self._target.embed([crop.png for crop in crops]), self._target.dimension)
        if len(embeddings) != len(crops):
            raise ValueError(f"{len(crops)} crops were embedded into {len(embeddings)} embeddings")
        return embeddings

    def _keep(self, connection: sqlite3.Connection, crops: Sequence[_Crop], embeddings: NDArray[np.float32]) -> None:
        seal = vault.of(connection).sealed
        values = [
            (self._target.embedder, seal("embedding", crop.id, embedding.astype("<f4").tobytes()), crop.face)
            for crop, embedding in zip(crops, embeddings, strict=True)
        ]
        connection.executemany(_GATHER, values)

    def _replace(self, connection: sqlite3.Connection) -> Reembedded:
        """The moment: every face has a gathered embedding now, or no crop."""
        name, key = self._row.collection.name, self._row.key
        records.again(connection, self._row)
        self._refuse_without_crop(connection)
        dropped = face_records.remove_without_crop(connection, key)
        self._move(connection)
        connection.execute("INSERT INTO changes (collection, op, face) VALUES (?, 'renew', 0)", (key,))
        connection.execute(_BIND, (self._target.embedder, self._target.dimension, key))
        bound = records.collection(connection, name)
        templates.rebuild(connection, bound)
        return Reembedded(name, bound.collection.faces, dropped)

    def _move(self, connection: sqlite3.Connection) -> None:
        # Page by page: until a statement ends, SQLite keeps in memory what it would need to undo it.
        last, key = 0, self._row.key
        while end := connection.execute(_PAGE_END, (key, last, _PAGE_ROWS)).fetchone()[0]:
            connection.execute(_REPLACE, (self._target.embedder, key, last, end))
            connection.execute(_CLEAR, (key, last, end))
            last = end

    def _refuse_without_crop(self, connection: sqlite3.Connection) -> None:
        count, named = face_records.without_crop(connection, self._row.key)
        if count and not self._drop:
            raise ReembedRefusedError(
                f"{count} faces in collection {self._row.collection.name!r} have no crop to make an embedding from, "
                f"such as those of {', '.join(named)}: enrol them anew from their pictures, or have these faces dropped"
            )
