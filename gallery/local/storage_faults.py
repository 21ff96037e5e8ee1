"""What SQLite's errors mean to whoever runs the service."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from gallery.types import GalleryBusyError, GalleryError, StorageError, StorageFullError

# SQLite can fail to make room for its shared memory and call it an I/O error; less than this much room is none.
_ROOM_BYTES = 65_536


def explained(error: sqlite3.DatabaseError, path: Path, waited_s: float) -> GalleryError:
    """The error in the gallery's terms: what happened to the database at `path`, and what to do about it.

    Told apart by SQLite's words (sqlite3_errstr): Python 3.10 does not give its codes.
    """
    text = str(error)
    if is_busy(error):
        return GalleryBusyError(f"{path} stayed locked for {waited_s} s by another process; nothing was written")
    if "is full" in text or ("I/O" in text and _no_room(path)):
        return StorageFullError(f"{path}: the disk is full, nothing was written; free some space")
    if "malformed" in text or "not a database" in text or "decode" in text:
        return damaged(path, error)
    if ("readonly" in text or "unable to open" in text) and (folder := _unwritable(path)):
        return StorageError(
            f"{folder} cannot be written ({text}): mount it for writing, or give this user the right to"
        )
    if "I/O" in text:
        return StorageError(f"{path}: {text}, nothing was written; the kernel's log says what is wrong with the disk")
    return StorageError(f"{path}: {text}")


def is_busy(error: sqlite3.DatabaseError) -> bool:
    """Whether another process has the lock that was asked for."""
    text = str(error)
    return "locked" in text or "locking protocol" in text


def require_rising(last: int, key: int) -> None:
    """Raises sqlite3.DatabaseError where a page's key does not come after the one it was asked from: else a damaged
    page could have us read it for ever."""
    if key <= last:
        raise sqlite3.DatabaseError("malformed: keys are out of order")


def damaged(path: Path, error: Exception) -> StorageError:
    """Says so, whatever it was that showed it."""
    return StorageError(
        f"{path} is damaged ({error}): stop the service, check the disk, and restore a backup or an export"
    )


def _no_room(path: Path) -> bool:
    with suppress(OSError):
        room = os.statvfs(path.parent)
        return room.f_bavail * room.f_frsize < _ROOM_BYTES
    return False


def _unwritable(path: Path) -> Path | None:
    return next((each for each in (path, path.parent) if not os.access(each, os.W_OK)), None)
