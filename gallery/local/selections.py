"""Who passes a filter, asked of SQLite and remembered."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local.records import CollectionRow, dumps, loads

_KEPT_KEYS = 4_000_000

# SQLite ends a text of JSON at a NUL, and refuses some JSON that Python reads (deeply nested): Python judges those.
_PASSING = """
SELECT key, CASE WHEN NOT json_valid(metadata) OR instr(metadata, '\\u0000') THEN metadata END
FROM identities WHERE collection = ? AND key > ? AND (NOT json_valid(metadata) OR ({condition}))
{among} ORDER BY key
"""
_AMONG = "AND key IN (SELECT value FROM json_each(?))"
_TOUCHED = "SELECT DISTINCT identity FROM descriptions WHERE collection = ? AND seq > ?"
# Both sides are read from JSON, so that both sides' decimals become the same doubles.
_ONE_KEY = """
EXISTS (
    SELECT 1 FROM json_each(CASE WHEN json_valid(metadata) THEN metadata ELSE '{}' END) held WHERE held.key = ? AND (
    (held.type = 'text' AND held.atom IN (SELECT atom FROM json_each(?) WHERE type = 'text'))
    OR (held.type IN ('integer', 'real')
        AND held.atom IN (SELECT atom FROM json_each(?) WHERE type IN ('integer', 'real')))
    OR (held.type IN ('true', 'false', 'null')
        AND held.type IN (SELECT type FROM json_each(?) WHERE type IN ('true', 'false', 'null')))
    )
)
"""


def passing(
    connection: sqlite3.Connection,
    chosen: Filter,
    collection_key: int,
    after: int,
    among: Sequence[int] | None = None,
) -> NDArray[np.int64]:
    """Keys of the collection's identities that pass, past the key `after` and `among` those given, rising."""
    condition = " AND ".join([_ONE_KEY] * len(chosen.wanted))
    values: list[object] = [collection_key, after]
    for key, wanted in chosen.wanted:
        values += [key, *[dumps(wanted)] * 3]
    if among is not None:
        values.append(dumps(among))
    statement = _PASSING.replace("{condition}", condition).replace("{among}", "" if among is None else _AMONG)
    found = connection.execute(statement, values)
    keys = [key for key, doubtful in found if doubtful is None or chosen.passes(loads(doubtful))]
    return np.array(keys, np.int64)


class _Kept(NamedTuple):
    described: int
    last: int
    keys: NDArray[np.int64]


class Selections:
    """Who passes which filter, remembered: SQLite is asked about everybody once, then about those who came, went or
    were described anew since. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()

    def of(self, connection: sqlite3.Connection, row: CollectionRow, chosen: Filter) -> NDArray[np.int64]:
        """Keys of the identities that pass as of the connection's snapshot, rising; not to be written to."""
        statement = "SELECT max(key) FROM identities WHERE collection = ?"
        last: int = connection.execute(statement, (row.key,)).fetchone()[0] or 0
        name = (row.key, dumps(chosen.wanted))  # as text: to Python 1, 1.0 and True are one key
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or not _can_follow(connection, row, kept):
            kept = _Kept(row.described, 0, np.empty(0, np.int64))
        new = kept
        if kept.described < row.described:
            touched = [identity for (identity,) in connection.execute(_TOUCHED, (row.key, kept.described))]
            known = [identity for identity in touched if identity <= kept.last]
            those = passing(connection, chosen, row.key, 0, known)
            new = _Kept(row.described, kept.last, np.union1d(np.setdiff1d(kept.keys, known), those))
        if kept.last < last:
            newcomers = passing(connection, chosen, row.key, kept.last)
            new = _Kept(row.described, last, np.concatenate([new.keys, newcomers]))
        if new is not kept:
            self._keep(name, new)
        # Another thread may have looked at a later snapshot: nobody is in the index yet who came after this one.
        return new.keys[: int(np.searchsorted(new.keys, last, "right"))]

    def _keep(self, name: tuple[int, str], new: _Kept) -> None:
        with self._lock:
            self._kept[name] = new
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(len(kept.keys) + 1 for kept in self._kept.values()) > _KEPT_KEYS:
                self._kept.popitem(last=False)


def _can_follow(connection: sqlite3.Connection, row: CollectionRow, kept: _Kept) -> bool:
    """Whether the log tells of all that happened between what is remembered and the snapshot that is looked at."""
    if kept.described >= row.described:
        return kept.described == row.described
    oldest: int | None = connection.execute("SELECT min(seq) FROM descriptions").fetchone()[0]
    return oldest is not None and oldest <= kept.described + 1
