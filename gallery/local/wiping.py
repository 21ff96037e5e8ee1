"""Taking the erased out of snapshots, and what else concerns the folder they lie in.

One lock file orders wiping and writing between threads and processes. A snapshot that is being written when somebody is
erased is taken away, and its writer begins again.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gallery.local import snapshot_file
from gallery.local.snapshot_file import BadSnapshotError, Stamp
from gallery.local.store import Store
from gallery.types import StorageError

if sys.platform != "win32":
    import fcntl

_REMOVED = "SELECT face FROM changes WHERE collection = ? AND op = 'remove' AND seq > ? AND seq <= ?"


def folder_of(store: Store) -> Path:
    return store.path.parent / "snapshots"


def can_follow(connection: sqlite3.Connection, stamp: Stamp) -> bool:
    """Whether the change log tells all that happened to the collection's faces since."""
    oldest, newest = connection.execute("SELECT min(seq), max(seq) FROM changes").fetchone()
    if newest is None or oldest > stamp.applied + 1 or newest < max(stamp.applied, stamp.wiped):
        return False
    renewed = "SELECT 1 FROM changes WHERE collection = ? AND op = 'renew' AND seq > ?"
    since = max(stamp.applied, stamp.wiped)  # whoever wiped made sure of it until then
    return connection.execute(renewed, (stamp.collection, since)).fetchone() is None


def wipe(store: Store, up_to: int) -> None:
    """Takes whoever was removed by change `up_to` or before out of all snapshots; on disk when this returns.

    To be called when no reader sees a state of the database older than that: whoever maps a snapshot hears of a removal
    before looking at its row again. May be repeated. Raises StorageError.
    """
    folder = folder_of(store)
    if not folder.is_dir():
        return
    try:
        with locked(folder), store.read() as connection:
            for part in folder.glob("*.part"):
                os.truncate(part, 0)  # the bytes go now, though the one who writes it has it open
                part.unlink()
            for path in folder.glob("*.rows"):
                if not _wiped(connection, path, up_to):
                    path.unlink()  # not emptied: others have it mapped, until they look at the database again
            sync(folder)
    except OSError as error:
        raise StorageError(f"{folder}: {error}") from error


def _wiped(connection: sqlite3.Connection, path: Path, up_to: int) -> bool:
    """Whether that could be done by overwriting rows."""
    handle = os.open(path, os.O_RDWR)
    try:
        stamp = snapshot_file.read_stamp(handle)
        if not can_follow(connection, stamp) or not _is_there(connection, stamp.collection):
            return False
        wipe_file(connection, handle, stamp, up_to)
    except BadSnapshotError:
        return False
    finally:
        os.close(handle)
    return True


def _is_there(connection: sqlite3.Connection, collection: int) -> bool:
    return connection.execute("SELECT 1 FROM collections WHERE key = ?", (collection,)).fetchone() is not None


def wipe_file(connection: sqlite3.Connection, handle: int, stamp: Stamp, up_to: int) -> None:
    """Overwrites the rows that were removed since, by change `up_to` or before."""
    removed = [face for (face,) in connection.execute(_REMOVED, (stamp.collection, stamp.wiped, up_to))]
    if removed:
        snapshot_file.wipe(handle, stamp, np.array(removed, np.int64), up_to)


def newest_change(connection: sqlite3.Connection) -> int:
    newest: int | None = connection.execute("SELECT max(seq) FROM changes").fetchone()[0]
    return newest or 0


def path_of(store: Store, collection: int) -> Path:
    return folder_of(store) / f"{collection}.rows"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among all threads and processes that write or wipe snapshots, while the block lasts."""
    handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
