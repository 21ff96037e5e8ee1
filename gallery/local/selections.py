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
from gallery.local import records
from gallery.local.records import CollectionRow, dumps, loads
from gallery.local.store import Store

_KEPT_KEYS = 4_000_000
_PAGE_KEYS = 5_000
_LAST_KEY = 2**63 - 1

# SQLite ends a text of JSON at a NUL, and refuses some JSON that Python reads (deeply nested): Python judges those.
_PASSING = """
SELECT key, CASE WHEN NOT json_valid(metadata) OR instr(metadata, '\\u0000') THEN metadata END
FROM identities WHERE collection = ? AND key > ? AND key <= ? AND (NOT json_valid(metadata) OR ({condition}))
{among} ORDER BY key
"""
_AMONG = "AND key IN (SELECT value FROM json_each(?))"
_PAGE_END = "SELECT max(key) FROM (SELECT key FROM identities WHERE collection = ? AND key > ? ORDER BY key LIMIT ?)"
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
    until: int = _LAST_KEY,
) -> NDArray[np.int64]:
    """Keys of the collection's identities that pass, past the key `after`, not past `until`, and `among` those given,
    rising."""
    condition = " AND ".join([_ONE_KEY] * len(chosen.wanted))
    values: list[object] = [collection_key, after, until]
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

    def prepare(self, store: Store, collection: str, embedder: str, chosen: Filter) -> None:
        """Asks about everybody where that has not been done, page by page: so that no erase waits for the whole of it.

        Who comes, goes or is described anew meanwhile is in the log, which `of` follows. Raises
        CollectionNotFoundError and ModelMismatchError.
        """
        with store.read() as connection:
            row = records.collection(connection, collection).made_by(embedder)
            if self._known(connection, row, _name(row, chosen)):
                return
        last = 0
        pages: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        while True:
            with store.read() as connection:
                end: int | None = connection.execute(_PAGE_END, (row.key, last, _PAGE_KEYS)).fetchone()[0]
                if end is None:
                    break
                pages.append(passing(connection, chosen, row.key, last, until=end))
                last = end
        self._keep(_name(row, chosen), _Kept(row.described, last, np.concatenate(pages)))

    def of(self, connection: sqlite3.Connection, row: CollectionRow, chosen: Filter) -> NDArray[np.int64]:
        """Keys of the identities that pass as of the connection's snapshot, rising; not to be written to."""
        statement = "SELECT max(key) FROM identities WHERE collection = ?"
        last: int = connection.execute(statement, (row.key,)).fetchone()[0] or 0
        name = _name(row, chosen)
        kept = self._known(connection, row, name) or _Kept(row.described, 0, np.empty(0, np.int64))
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

    def _known(self, connection: sqlite3.Connection, row: CollectionRow, name: tuple[int, str]) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(name)
        return kept if kept and _can_follow(connection, row, kept) else None

    def _keep(self, name: tuple[int, str], new: _Kept) -> None:
        with self._lock:
            self._kept[name] = new
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(len(kept.keys) + 1 for kept in self._kept.values()) > _KEPT_KEYS:
                self._kept.popitem(last=False)


def _name(row: CollectionRow, chosen: Filter) -> tuple[int, str]:
    return row.key, dumps(chosen.wanted)  # as text: to Python 1, 1.0 and True are one key


def _can_follow(connection: sqlite3.Connection, row: CollectionRow, kept: _Kept) -> bool:
    """Whether the log tells of all that happened between what is remembered and the snapshot that is looked at."""
    if kept.described >= row.described:
        return kept.described == row.described
    oldest: int | None = connection.execute("SELECT min(seq) FROM descriptions").fetchone()[0]
    return oldest is not None and oldest <= kept.described + 1
