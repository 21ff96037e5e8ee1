"""Has snapshots written when they are worth it, in a thread of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from gallery.local import records, snapshots
from gallery.local.records import CollectionRow
from gallery.local.snapshots import GivenUpError
from gallery.local.store import Store
from gallery.local.wishes import Wishes
from gallery.types import GalleryError

log = logging.getLogger("faceserve")

LEAST_ROWS = 50_000
"""A smaller collection is read from SQLite in less than half a second."""
_LEAST_CHANGES = 10_000
_PAUSE_S = 0.5
_TRIES = 20


class Keeper:
    """Writes a collection's snapshot, or waits for the process that is at it, then has this process `adopt` it.

    The thread starts with the first wish, and ends with `close`. Any thread may call.
    """

    def __init__(self, store: Store, adopt: Callable[[str], None]) -> None:
        self._store = store
        self._adopt = adopt
        self._wishes = Wishes("snapshots", self._fulfil)

    def wants(self, row: CollectionRow, snapshot_at: int | None) -> bool:
        """Whether the collection is large, and the snapshot that its index was opened from is old or none; never where
        the gallery is encrypted."""
        if self._store.vault.seals:
            return False
        if row.collection.faces < LEAST_ROWS or sys.platform == "win32":  # which has no flock and no pread
            return False
        # The log has to reach back to the snapshot for a good while yet.
        most = min(max(_LEAST_CHANGES, row.collection.faces // 10), self._store.keep_changes // 2)
        return snapshot_at is None or row.newest - snapshot_at > most

    def wish(self, name: str) -> None:
        """Has the collection's snapshot written soon; at once, and once, however often this is called."""
        self._wishes.wish(name)

    def close(self) -> None:
        """Gives up what is being written, and waits for the thread. May be called twice."""
        self._wishes.close()

    def _fulfil(self, name: str) -> bool:
        try:
            return self._kept(name)
        except (GalleryError, GivenUpError, OSError) as error:
            log.warning("the snapshot of collection %r was not written: %s", name, error)
        except Exception:  # the thread goes on for other collections
            log.exception("the snapshot of collection %r was not written", name)
        return False

    def _kept(self, name: str) -> bool:
        for _ in range(_TRIES):
            with self._store.read() as connection:
                row = records.collection(connection, name)
            late = snapshots.behind(self._store, row)
            if late is not None and not self.wants(row, row.newest - late):
                self._adopt(name)
                return True
            try:
                written = snapshots.write(self._store, name, is_wanted=self._wishes.is_open)
            except GivenUpError:  # somebody was erased: begin again
                written = False
            if not written and not self._wishes.pause(_PAUSE_S):
                return False
        return False
