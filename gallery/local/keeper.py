"""Has snapshots written when they are worth it, in a thread of its own."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

from gallery.local import records, snapshots
from gallery.local.records import CollectionRow
from gallery.local.snapshots import GivenUpError
from gallery.local.store import Store
from gallery.types import GalleryError

log = logging.getLogger("faceserve")

LEAST_ROWS = 50_000
"""A smaller collection is read from SQLite in less than half a second."""
_LEAST_CHANGES = 10_000
_PAUSE_S = 0.5
_TRIES = 20
_AFTER_FAILURE_S = 60


class Keeper:
    """Writes a collection's snapshot, or waits for the process that is at it, then has this process `adopt` it.

    The thread starts with the first wish, and ends with `close`. Any thread may call.
    """

    def __init__(self, store: Store, adopt: Callable[[str], None]) -> None:
        self._store = store
        self._adopt = adopt
        self._changed = threading.Condition()
        self._wishes = dict[str, None]()
        self._failed: dict[str, float] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

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
        with self._changed:
            if self._closed or name in self._wishes or self._failed.get(name, 0) > time.monotonic():
                return
            self._wishes[name] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Gives up what is being written, and waits for the thread. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wishes)
                if self._closed:
                    return
                name = next(iter(self._wishes))
            try:
                done = self._fulfil(name)
            except (GalleryError, GivenUpError, OSError) as error:
                log.warning("the snapshot of collection %r was not written: %s", name, error)
                done = False
            except Exception:  # the thread goes on for other collections
                log.exception("the snapshot of collection %r was not written", name)
                done = False
            with self._changed:
                self._wishes.pop(name, None)
                self._failed[name] = 0 if done else time.monotonic() + _AFTER_FAILURE_S

    def _fulfil(self, name: str) -> bool:
        for _ in range(_TRIES):
            with self._store.read() as connection:
                row = records.collection(connection, name)
            late = snapshots.behind(self._store, row)
            if late is not None and not self.wants(row, row.newest - late):
                self._adopt(name)
                return True
            try:
                written = snapshots.write(self._store, name, is_wanted=lambda: not self._closed)
            except GivenUpError:  # somebody was erased: begin again
                written = False
            if not written and self._wait():
                return False
        return False

    def _wait(self) -> bool:
        """Whether it was closed meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, _PAUSE_S)
