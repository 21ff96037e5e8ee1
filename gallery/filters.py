"""Which identities a search looks at, by their metadata."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.records import CollectionRow, dumps, loads
from gallery.types import InvalidFilterError, Metadata

Scalar = str | int | float | bool | None
MAX_KEYS, MAX_VALUES, MAX_CHARACTERS = 16, 100, 1000
MAX_NUMBER = 2**53
"""Beyond it a double cannot tell whole numbers apart."""
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


@dataclass(frozen=True, slots=True)
class Filter:
    """For each key of the metadata's top level the values it may have. All keys must agree, one value of each does.

    Equality is JSON's: `1` is `1.0` but neither `true` nor `"1"`; null is a null that is there, not a missing key;
    lists and objects in metadata equal nothing.
    """

    wanted: tuple[tuple[str, tuple[Scalar, ...]], ...]

    @classmethod
    def of(cls, asked: Mapping[str, Scalar | Sequence[Scalar]]) -> Filter:
        """From key -> value, or key -> list of values. Raises InvalidFilterError."""
        if not 1 <= len(asked) <= MAX_KEYS:
            raise InvalidFilterError(f"a filter has 1 to {MAX_KEYS} keys, not {len(asked)}: leave it out to search all")
        return cls(tuple(sorted((_text(key), _values(key, value)) for key, value in asked.items())))

    def passes(self, metadata: Metadata) -> bool:
        """Whether an identity with that metadata is looked at."""
        return all(
            key in metadata and any(_equal(metadata[key], value) for value in values) for key, values in self.wanted
        )

    def passing(
        self, connection: sqlite3.Connection, collection_key: int, after: int, among: Sequence[int] | None = None
    ) -> NDArray[np.int64]:
        """Keys of the collection's identities that pass, past the key `after` and `among` those given, rising."""
        condition = " AND ".join([_ONE_KEY] * len(self.wanted))
        values: list[object] = [collection_key, after]
        for key, wanted in self.wanted:
            values += [key, *[dumps(wanted)] * 3]
        if among is not None:
            values.append(dumps(among))
        statement = _PASSING.replace("{condition}", condition).replace("{among}", "" if among is None else _AMONG)
        found = connection.execute(statement, values)
        keys = [key for key, doubtful in found if doubtful is None or self.passes(loads(doubtful))]
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
            passing = chosen.passing(connection, row.key, 0, known)
            new = _Kept(row.described, kept.last, np.union1d(np.setdiff1d(kept.keys, known), passing))
        if kept.last < last:
            newcomers = chosen.passing(connection, row.key, kept.last)
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


def _equal(held: object, value: Scalar) -> bool:
    if isinstance(held, bool) or isinstance(value, bool) or held is None or value is None:
        return held is value
    if isinstance(held, str) or isinstance(value, str):
        return type(held) is type(value) and held == value
    return isinstance(held, int | float) and held == value


def _values(key: str, asked: Scalar | Sequence[Scalar]) -> tuple[Scalar, ...]:
    values: tuple[Any, ...] = tuple(asked) if isinstance(asked, list | tuple) else (asked,)
    if not 1 <= len(values) <= MAX_VALUES:
        raise InvalidFilterError(f"filter key {key[:40]!r} has {len(values)} values, expected 1 to {MAX_VALUES}")
    return tuple(_scalar(key, value) for value in values)


def _scalar(key: str, value: Any) -> Scalar:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= MAX_NUMBER:
        return value
    raise InvalidFilterError(f"filter key {key[:40]!r}: expected text, a number of up to 2^53, true, false or null")


def _text(text: str) -> str:
    if len(text) > MAX_CHARACTERS or any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text):
        raise InvalidFilterError(
            f"filter text {text[:40]!r}: expected at most {MAX_CHARACTERS} characters, without NUL and lone surrogates"
        )
    return text
