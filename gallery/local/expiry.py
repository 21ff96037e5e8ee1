"""Expiring: an identity whose time has come is removed by whoever looks next, before anything is answered.

So an expiry is an erasure that nobody had to ask for: triggers keep the counts and the change log, every index follows,
and its promise is kept by `sweeper.py`.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time

from gallery.local import promises
from gallery.types import StorageError

log = logging.getLogger("faceserve")

MOST_AT_ONCE = 200
"""How many are removed in a transaction."""
MAX_AHEAD_S = 86_400
"""How far the clock of a running process may jump ahead, and still have somebody removed."""

# Both are answered from the partial index alone, which has no entry for those who never expire.
_NEXT = "SELECT min(expires_at) FROM identities WHERE expires_at IS NOT NULL"
_DUE = "SELECT key, tag, digest FROM identities WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"


def next_moment(connection: sqlite3.Connection) -> float | None:
    """When the first of all identities expires, in seconds since 1970-01-01T00:00Z; None if none does. 3 µs."""
    moment: float | None = connection.execute(_NEXT).fetchone()[0]
    return moment


def remove_due(connection: sqlite3.Connection, now: float) -> None:
    """Removes some of those whose time has come, with all that tells of them, and promises their bytes' removal."""
    due = connection.execute(_DUE, (now, MOST_AT_ONCE)).fetchall()
    if not due:  # the clock may have gone back since somebody was
        return
    connection.executemany("DELETE FROM identities WHERE key = ?", [(key,) for key, _, _ in due])
    log.info("%d identities have expired and are removed", len(due))
    promises.promise(connection, *(mark for _, *marks in due for mark in marks))


def renewed(held: float | None, said: float | None, ttl_s: float | None, *, is_new: bool, gained: bool) -> float | None:
    """When an identity expires that was just enrolled, None for never.

    `held` is what it had, `said` what the enrolment said (None for nothing, `math.inf` for never), `gained` whether it
    has another face now. A collection's lifetime never shortens what somebody has.
    """
    if said is not None:
        return None if said == math.inf else said
    if ttl_s is None or not (is_new or (gained and held is not None)):
        return held
    return max(time.time() + ttl_s, held or 0)


class Clock:
    """The wall clock of this machine, and how far it jumped ahead since this was made. Any thread may ask."""

    def __init__(self) -> None:
        self._began = time.time() - _since_boot_s()

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00Z."""
        return time.time()

    def require_steady(self) -> None:
        """Raises StorageError where somebody would be removed by a clock that jumped ahead."""
        ahead_s = time.time() - _since_boot_s() - self._began
        if ahead_s > MAX_AHEAD_S:
            raise StorageError(
                f"the clock jumped ahead by {ahead_s / 3600:.0f} hours since the gallery was opened, and would have "
                "identities expire: set it right, or restart the service if it is right now"
            )


def _since_boot_s() -> float:
    """Goes on while the machine sleeps; where there is no such clock, the wall clock, which is then believed."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if boot is None else time.clock_gettime(boot)
