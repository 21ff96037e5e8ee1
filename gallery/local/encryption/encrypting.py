"""A gallery encrypted, decrypted, or given another key, with all that is in it.

Every row is written anew in one transaction: readers see all before or all after, a crash leaves one or the other, and
whoever has the gallery open meanwhile is told to begin again with the key it has now. With the rows the transaction
writes a promise that nothing of them as they were is left in a file; it is kept as for an erase (see erase.py), by the
next who opens the gallery if not by this one. Doing it again is safe, and finishes what is unfinished.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gallery.local import erase, promises
from gallery.local.encryption import data_key
from gallery.local.encryption.vault import Kind, Vault
from gallery.local.storage_faults import require_rising
from gallery.local.store import Store
from gallery.types import EraseIncompleteError, KeyRefusedError

OnProgress = Callable[[int, int], None]
"""Hears how many rows are done, and of how many."""

_BUSY_TIMEOUT_S = 30

# Whose each blob is, is told by the face's own row, to which the others belong.
_TABLES: tuple[tuple[Kind, str, str], ...] = (
    (
        "embedding",
        "SELECT key, id, embedding FROM faces WHERE key > ? ORDER BY key LIMIT ?",
        "UPDATE faces SET embedding = ? WHERE key = ?",
    ),
    (
        "crop",
        "SELECT face, faces.id, png FROM crops JOIN faces ON key = face WHERE face > ? ORDER BY face LIMIT ?",
        "UPDATE crops SET png = ? WHERE face = ?",
    ),
    (
        "embedding",
        "SELECT made.rowid, faces.id, made.embedding FROM reembedded made JOIN faces ON key = face "
        "WHERE made.rowid > ? ORDER BY made.rowid LIMIT ?",
        "UPDATE reembedded SET embedding = ? WHERE rowid = ?",
    ),
)
_PAGE_ROWS = {"embedding": 2000, "crop": 200}
_COUNT = "SELECT (SELECT count(*) FROM faces) + (SELECT count(*) FROM crops) + (SELECT count(*) FROM reembedded)"


def encrypt(
    folder: Path, key: bytes, *, erase_timeout_s: float = 30, on_progress: OnProgress = lambda done, of: None
) -> int:
    """Encrypts the gallery in `folder`; how many rows were written, 0 where it was encrypted with that key already.

    Raises KeyRefusedError, EraseIncompleteError, StorageError, and GalleryBusyError (nothing was written).
    """
    return _turned(folder, None, key, erase_timeout_s, on_progress)


def decrypt(
    folder: Path, key: bytes, *, erase_timeout_s: float = 30, on_progress: OnProgress = lambda done, of: None
) -> int:
    """The way back; 0 where nothing is encrypted. Raises what `encrypt` does."""
    try:
        return _turned(folder, key, None, erase_timeout_s, on_progress)
    except KeyRefusedError:
        with closing(_store(folder, key)):  # says what is wrong with that key
            raise


def rekey(
    folder: Path,
    old: bytes,
    new: bytes,
    *,
    rows: bool = False,
    erase_timeout_s: float = 30,
    on_progress: OnProgress = lambda done, of: None,
) -> int:
    """Has the key `new` open the gallery that `old` opens; how many rows were written.

    Those are none, unless all `rows` are to be encrypted with another data key too, for somebody may have this one.
    Where none are, services go on, and need the new key when they start next. Raises what `encrypt` does.
    """
    if rows:
        return _turned(folder, old, new, erase_timeout_s, on_progress)
    try:
        with closing(_store(folder, new)):
            pass
    except KeyRefusedError:
        with closing(_store(folder, old)) as store, store.write() as connection:
            data_key.rewrap(connection, old, new)
    _finish(folder, new, erase_timeout_s)
    return 0


def _turned(folder: Path, old: bytes | None, new: bytes | None, erase_timeout_s: float, on_progress: OnProgress) -> int:
    done = 0
    try:
        with closing(_store(folder, old)) as store, store.write() as connection:
            done = _written(connection, store.vault, new, on_progress)
    except KeyRefusedError:
        with closing(_store(folder, new)):  # it was done before, or says what is wrong
            pass
    _finish(folder, new, erase_timeout_s)
    return done


def _store(folder: Path, key: bytes | None) -> Store:
    return Store(folder / "gallery.db", busy_timeout_s=_BUSY_TIMEOUT_S, key=key)


def _finish(folder: Path, key: bytes | None, erase_timeout_s: float) -> None:
    with closing(_store(folder, key)) as store:
        try:
            erase.fulfil(store, erase_timeout_s)
        except EraseIncompleteError as error:
            raise EraseIncompleteError(
                "done, and nothing more is written as it was, but what was written before is still in the gallery's "
                f"files ({error.__cause__ or 'somebody keeps the database in use'}): restart the services that have it "
                "open, then run this again"
            ) from error


def _written(connection: sqlite3.Connection, before: Vault, key: bytes | None, on_progress: OnProgress) -> int:
    """Writes every blob anew, sealed with a new data key, or not at all where there is no key."""
    after = data_key.made(connection, before.path, key)
    done, of = 0, connection.execute(_COUNT).fetchone()[0]
    for kind, select, update in _TABLES:
        last = 0
        # Page by page: until a statement ends, SQLite keeps in memory what it would need to undo it.
        while page := connection.execute(select, (last, _PAGE_ROWS[kind])).fetchall():
            places, ids, blobs = zip(*page, strict=True)
            require_rising(last, places[0])
            texts = before.opened(kind, ids, blobs)
            sealed = (after.sealed(kind, id_, text) for id_, text in zip(ids, texts, strict=True))
            connection.executemany(update, zip(sealed, places, strict=True))
            last, done = places[-1], done + len(page)
            on_progress(done, of)
    _renew(connection)
    return done


def _renew(connection: sqlite3.Connection) -> None:
    """That nothing is left as it was: neither in the database's file, which is to be written anew, nor in a snapshot,
    which none can be followed from after a change to everything."""
    for (key,) in connection.execute("SELECT key FROM collections").fetchall():
        connection.execute("INSERT INTO changes (collection, op, face) VALUES (?, 'renew', 0)", (key,))
        statement = "UPDATE collections SET newest = (SELECT max(seq) FROM changes) WHERE key = ?"
        connection.execute(statement, (key,))
    promises.promise(connection)
