"""Has the bytes of the expired leave the files, in a thread of its own."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from contextlib import suppress

from gallery.local import erase
from gallery.local.store import Store
from gallery.types import GalleryError

log = logging.getLogger("faceserve")

GATHER_S = 30
"""Those who expire within that time are wiped together, for wiping costs a pass over the file. Each process waits for
once to twice as long, so that one does it."""
AGAIN_S = 5
_LOOK_S = 60


class Sweeper:
    """Erases whoever's time has come, asked for or not. The thread starts when somebody is first expected to expire,
    and ends with `close`. Any thread may call.
    """

    def __init__(self, store: Store, erase_timeout_s: float) -> None:
        self._store = store
        self._erase_timeout_s = erase_timeout_s
        self._changed = threading.Condition()
        self._next = math.inf
        self._closed = False
        self._thread: threading.Thread | None = None

    def expects(self, moment: float) -> None:
        """Somebody expires then (in seconds since 1970-01-01T00:00Z). Costs next to nothing when that is known."""
        if moment >= self._next:
            return
        with self._changed:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="expiry", daemon=True)
                # Where there is no room for a thread, the transaction that tells goes on, and the next one tells again.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
            if self._thread is not None:
                self._next = min(self._next, moment)
            self._changed.notify_all()

    def close(self) -> None:
        """Waits for the thread; what it leaves undone is done at the next opening. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._waited() and not self._pause(GATHER_S * (1 + random.random())):
            self._next = math.inf  # looking at the database tells of the next
            complained = False
            while not self._fulfilled(complained=complained) and not self._pause(AGAIN_S):
                complained = True

    def _fulfilled(self, *, complained: bool) -> bool:
        try:
            erase.fulfil(self._store, self._erase_timeout_s)
        except Exception as error:  # the thread goes on, and tries again
            if not complained:
                log.warning(
                    "expired identities could not be erased yet: %s",
                    error.__cause__ or error,
                    exc_info=not isinstance(error, GalleryError),
                )
            return False
        return True

    def _waited(self) -> bool:
        """Until somebody's time has come; False when it was closed meanwhile."""
        with self._changed:
            while not self._closed and (left_s := self._next - time.time()) > 0:
                self._changed.wait(min(left_s, _LOOK_S))  # the clock may be set meanwhile
            return not self._closed

    def _pause(self, seconds: float) -> bool:
        """Whether it was closed meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)
