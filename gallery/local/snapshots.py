"""Snapshots beside the database: large collections open in the time it takes to read a file, and workers share memory.

A snapshot is derived and never trusted: its token must be the one the database knows (a database brought back from a
backup knows another), its checksums must be right, and the change log must reach back to it. Whatever else it is, it is
ignored, and in time written anew, page by page in a thread of its own, under another name until it is whole.

What an erase does to them is in `wiping.py`.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gallery.local import face_records, records, snapshot_file
from gallery.local.index.segments import Segment
from gallery.local.index.waiting import Waiting
from gallery.local.records import CollectionRow
from gallery.local.snapshot_file import BadSnapshotError, Stamp
from gallery.local.store import Store
from gallery.local.wiping import can_follow, folder_of, locked, newest_change, path_of, sync, wipe_file

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("faceserve")

_PAGE_ROWS = 8192
_PAGE = "SELECT key, identity, embedding FROM faces WHERE collection = ? AND key > ? AND key <= ? ORDER BY key LIMIT ?"
_LAST = "SELECT max(key) FROM faces WHERE collection = ?"
_KNOW = "INSERT OR REPLACE INTO snapshots (collection, token) VALUES (?, ?)"


class GivenUpError(Exception):
    """A snapshot that was being written is not needed any more, or held what was erased meanwhile."""


def opened(store: Store, row: CollectionRow, segment_rows: int) -> tuple[Stamp, list[Segment]] | None:
    """The collection's snapshot, mapped, if there is one that can be followed from; else None, and why in the log.

    A gallery that is encrypted has none: they would hold what it keeps sealed, in the clear.
    """
    if store.vault.seals:
        return None
    path = path_of(store, row.key)
    try:
        try:
            stamp, segments = snapshot_file.segments(path, segment_rows)
        except BadSnapshotError:  # perhaps a row is being wiped just now
            with locked(path.parent):
                stamp, segments = snapshot_file.segments(path, segment_rows)
        with store.read() as connection:
            fault = _fault(connection, stamp, row)
    except FileNotFoundError:
        return None
    except (BadSnapshotError, OSError, ValueError) as error:
        fault = str(error)
    if fault is None:
        return stamp, segments
    log.warning("snapshot %s is not used: %s", path, fault)
    return None


def _fault(connection: sqlite3.Connection, stamp: Stamp, row: CollectionRow) -> str | None:
    known = connection.execute("SELECT token FROM snapshots WHERE collection = ?", (row.key,)).fetchone()
    if known is None or known[0] != stamp.token or stamp.collection != row.key:
        return "it is not the one this database knows"
    if (stamp.embedder, stamp.dimension) != (row.collection.embedder, row.collection.dimension):
        return "it is of another embedder"
    return None if can_follow(connection, stamp) else "the change log does not reach back to it"


def behind(store: Store, row: CollectionRow) -> int | None:
    """How many changes ago the collection's snapshot was written; None if it has none that can be used."""
    try:
        handle = os.open(path_of(store, row.key), os.O_RDONLY)
    except OSError:
        return None
    try:
        stamp = snapshot_file.read_stamp(handle)
    except BadSnapshotError:
        return None
    finally:
        os.close(handle)
    with store.read() as connection:
        return None if _fault(connection, stamp, row) else row.newest - stamp.applied


# --- writing


def write(store: Store, name: str, *, is_wanted: Callable[[], bool] = lambda: True) -> bool:
    """Writes the collection's snapshot; False when another process or thread is at it, or the gallery is encrypted.
    Readers and writers of the database wait for nothing, an erase for a block.

    Raises GivenUpError, OSError, and what reading a collection does.
    """
    if store.vault.seals:
        return False
    with store.read() as connection:
        row = records.collection(connection, name)
        last: int = connection.execute(_LAST, (row.key,)).fetchone()[0] or 0
    folder = folder_of(store)
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = (row.key, row.collection.embedder, row.collection.dimension)
    stamp = Stamp(secrets.token_hex(16), *facts, applied=row.newest, wiped=row.newest)
    path, part = path_of(store, row.key), folder / f"{row.key}.part"
    with locked(folder):
        handle = _begun(part)
    if handle is None:
        return False
    try:
        stamp = _fill(store, row, handle, stamp, last, is_wanted)
        snapshot_file.finish(handle, stamp)
        _publish(store, handle, stamp, part, path)
        with store.write() as connection:
            records.again(connection, row)
            connection.execute(_KNOW, (row.key, stamp.token))
    finally:
        with locked(folder), suppress(FileNotFoundError):
            if os.path.samestat(part.stat(), os.fstat(handle)):
                part.unlink()
        os.close(handle)
    return True


def _begun(part: Path) -> int | None:
    """An empty file nobody else writes to, locked for as long as it is open; None if somebody is writing it."""
    with suppress(FileNotFoundError):
        left = os.open(part, os.O_RDWR)
        try:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()  # its writer is dead
        except BlockingIOError:
            return None
        finally:
            os.close(left)
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _fill(
    store: Store, row: CollectionRow, handle: int, stamp: Stamp, last: int, is_wanted: Callable[[], bool]
) -> Stamp:
    waiting = Waiting()

    def append(least: int) -> Stamp:
        told = replace(stamp, error=waiting.error, length=waiting.length)
        for kind, columns in waiting.blocks(snapshot_file.BLOCK_ROWS, least):
            with locked(folder_of(store)):
                _require_linked(handle)
                told = snapshot_file.append(handle, told, kind, *columns)
        return told

    for faces, identities, blobs in _pages(store, row, last, is_wanted):
        waiting.add(faces, identities, face_records.from_blobs(blobs))
        stamp = append(snapshot_file.BLOCK_ROWS)
    return append(1)


def _pages(
    store: Store, row: CollectionRow, last: int, is_wanted: Callable[[], bool]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[bytes, ...]]]:
    # Each page as of its own moment: what was added or removed meanwhile is in the log after `applied`.
    after = 0
    while True:
        if not is_wanted():
            raise GivenUpError("the gallery was closed")
        with store.read() as connection:
            records.again(connection, row)
            page = connection.execute(_PAGE, (row.key, after, last, _PAGE_ROWS)).fetchall()
        if not page:
            return
        faces, identities, blobs = zip(*page, strict=True)
        yield faces, identities, blobs
        after = faces[-1]


def _publish(store: Store, handle: int, stamp: Stamp, part: Path, path: Path) -> None:
    with locked(folder_of(store)):
        _require_linked(handle)
        with store.read() as connection:
            wipe_file(connection, handle, stamp, newest_change(connection))
        part.rename(path)
        sync(path.parent)


def _require_linked(handle: int) -> None:
    if not _is_linked(handle):
        raise GivenUpError("somebody was erased while it was written")


def _is_linked(handle: int) -> bool:
    return os.fstat(handle).st_nlink > 0
