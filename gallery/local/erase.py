"""Erasing that erases: after it, no byte of what was deleted is left in the gallery's files.

`secure_delete` overwrites a deleted row, but when SQLite rearranges a page it may leave a stale copy of a row in the
page's unused space, and that copy outlives the row (measured: one delete in several hundred). So every row of a person
begins with a random tag; an erase empties the write-ahead log, searches the database file for the tag, and has the file
written anew if it is found. The promise is recorded in the deleting transaction, so that a crash or a reader that
stays too long only delays it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gallery.local import promises, wiping
from gallery.local.store import Store
from gallery.types import EraseIncompleteError, GalleryBusyError, GalleryError, StorageError, StorageFullError

_PAUSE_S = 0.005
_MOST_TAGS = 32
"""To search the file for more takes longer than to write it anew."""
_IN_USE = "somebody kept the database in use"


@contextmanager
def erasing(store: Store, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """A transaction that deletes, and then the wiping; raises EraseIncompleteError."""
    try:
        with store.write() as connection:
            yield connection
    except (GalleryBusyError, StorageError):
        raise  # nothing was deleted
    except GalleryError:
        # Wipes also when there was nothing to delete: who asks again after EraseIncompleteError learns when it is done.
        fulfil(store, timeout_s)
        raise
    fulfil(store, timeout_s)


def fulfil(store: Store, timeout_s: float) -> None:
    """Keeps all promises, of other processes too. Raises EraseIncompleteError when readers stay past `timeout_s`, or
    the disk fails it."""
    try:
        with store.read() as connection:
            pending = promises.pending(connection)
        if pending:
            _wipe(store, [tag for _, tag in pending], time.monotonic() + timeout_s)
            with store.write() as connection:
                promises.kept(connection, pending)
    except GalleryBusyError as error:
        raise _incomplete(_IN_USE) from error
    except StorageError as error:
        why = "the disk is full" if isinstance(error, StorageFullError) else "the disk could not be read or written"
        raise _incomplete(why) from error


def _wipe(store: Store, tags: list[bytes | None], deadline: float) -> None:
    with store.read() as connection:
        newest = wiping.newest_change(connection)
    _empty_log(store, deadline)
    needles = [tag for tag in tags if tag is not None]
    if len(needles) < len(tags) or len(needles) > _MOST_TAGS or store.holds(needles):
        store.compact()
        _empty_log(store, deadline)
    wiping.wipe(store, newest)


def _empty_log(store: Store, deadline: float) -> None:
    while not store.truncate_log():
        if time.monotonic() > deadline:
            raise _incomplete(_IN_USE)
        time.sleep(_PAUSE_S)


def _incomplete(why: str) -> EraseIncompleteError:
    return EraseIncompleteError(
        f"deleted, and in no answer any more, but {why}: old bytes are still in its files. "
        "The next erase, asking again, or a restart wipes them"
    )
