"""The rows beside the faces: who there is, what they are called, what is known of them, their crops, stored answers.

An identity is a few rows under its id, each written whole and by itself, so that no two writers can undo each other's
work though Milvus has no transactions: who was *born* (`b`: the first name, when), what it is *named* now (`n`), its
*metadata* (`m`) and when it expires (`x`). Who enrols writes the first, always with the same key and name; who
renames writes the second; the last writer of each holds. Every write of a row has a random `stamp`, and rows are
deleted by key and stamp: what was written after somebody looked is not deleted by what he saw.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gallery.milvus import schema
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import Connection, Fields, one_of
from gallery.types import Metadata, NotOfferedError

BORN, NAMED, METADATA, EXPIRES, CROP, ANSWER = "bnmxca"
OF_A_PERSON = one_of("kind", (BORN, NAMED, METADATA, EXPIRES))
NEVER = -1.0
_PIECE = 60_000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read, without terms."""

    pk: str
    owner: str
    kind: str
    stamp: int
    named: str
    moment: float
    pieces: int
    body: str

    def told(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


@dataclass(frozen=True, slots=True)
class Person:
    """An identity, without its faces. `expires_at` is in seconds since 1970-01-01T00:00Z; None for never."""

    id: str
    name: str
    first_name: str
    created_at: str
    metadata: Metadata
    expires_at: float | None

    @property
    def is_past(self) -> bool:
        return self.expires_at is not None and self.expires_at <= time.time()


def each(connection: Connection, bound: Bound, where: str) -> Iterator[Row]:
    """The rows for which the expression holds, by rising keys."""
    for row in connection.rows(bound.records, where, schema.RECORD_FIELDS):
        yield Row(**{name: row[name] for name in ("pk", *schema.RECORD_FIELDS)})


def read(connection: Connection, bound: Bound, where: str) -> list[Row]:
    return list(each(connection, bound, where))


def read_of(connection: Connection, bound: Bound, owners: Iterable[str], also: str = OF_A_PERSON) -> list[Row]:
    """The rows of those owners for which that expression holds as well."""
    return [
        row
        for chunk in chunks(sorted(set(owners)))
        for row in read(connection, bound, f"{one_of('owner', chunk)} and {also}")
    ]


def people(rows: Iterable[Row]) -> dict[str, Person]:
    """Whom those rows tell of, by id; the expired too."""
    found = {}
    for owner, own in groupby(sorted(rows, key=lambda row: row.owner), key=lambda row: row.owner):
        kinds = {row.kind: row for row in own}
        if BORN not in kinds:  # erased: what else there is of it was written too late
            continue
        born = kinds[BORN].told()
        name = kinds[NAMED].told()["name"] if NAMED in kinds else born["name"]
        metadata = kinds[METADATA].told() if METADATA in kinds else {}
        moment = kinds[EXPIRES].moment if EXPIRES in kinds else NEVER
        found[owner] = Person(
            owner, name, born["name"], born["created_at"], metadata, None if moment == NEVER else moment
        )
    return found


# --- writing


def born(bound: Bound, id_: str, name: str, created_at: str) -> Fields:
    body = dumps({"name": name, "created_at": created_at})
    return _row(BORN + id_, id_, BORN, body, named=bound.digest("name", name))


def named(bound: Bound, id_: str, name: str) -> Fields:
    return _row(NAMED + id_, id_, NAMED, dumps({"name": name}), named=bound.digest("name", name))


def described(bound: Bound, id_: str, metadata: Metadata) -> Fields:
    """Raises NotOfferedError for more than a row holds."""
    body, terms = dumps(dict(metadata)), sorted({term(bound, key, value) for key, value in metadata.items()} - {""})
    if len(body.encode()) > schema.MAX_BODY_BYTES or len(terms) > 4096:
        raise NotOfferedError(
            f"metadata of {len(body.encode())} bytes and {len(metadata)} keys: a gallery in Milvus keeps at most "
            f"{schema.MAX_BODY_BYTES} and 4096"
        )
    return _row(METADATA + id_, id_, METADATA, body, terms=terms)


def expiring(id_: str, expires_at: float | None) -> Fields:
    moment = NEVER if expires_at is None or expires_at == math.inf else expires_at
    return _row(EXPIRES + id_, id_, EXPIRES, "", moment=moment)


def due(now: float) -> str:
    """The expression that a row says of an identity that it has expired, in seconds since 1970-01-01T00:00Z."""
    return f'kind == "{EXPIRES}" and moment >= 0 and moment <= {now!r}'


def texts(key: str, owner: str, kind: str, text: str, moment: float = 0.0) -> list[Fields]:
    """An ASCII text of any length, in as many rows as it takes, under one stamp."""
    pieces = [text[start : start + _PIECE] for start in range(0, max(1, len(text)), _PIECE)]
    stamp = new_stamp()
    return [
        _row(f"{kind}{key}/{number:06d}", owner, kind, piece, moment=moment, pieces=len(pieces), stamp=stamp)
        for number, piece in enumerate(pieces)
    ]


def joined(rows: Iterable[Row]) -> Row | None:
    """The latest whole text of the rows of one key, as one row; None where there is none, or only a part."""
    whole = []
    for _, same in groupby(sorted(rows, key=lambda row: (row.stamp, row.pk)), key=lambda row: row.stamp):
        pieces = list(same)
        if len(pieces) == pieces[0].pieces:
            text = "".join(piece.body for piece in pieces)
            first = pieces[0]
            whole.append(Row(first.pk, first.owner, first.kind, first.stamp, "", first.moment, len(pieces), text))
    return max(whole, key=lambda row: row.moment, default=None)


def remove(connection: Connection, collection: str, stamps: Mapping[str, int]) -> None:
    """Deletes rows by key and stamp: one that was written anew since stays."""
    for chunk in chunks(sorted(stamps)):
        listed = ", ".join(str(stamps[pk]) for pk in chunk)
        connection.delete(collection, f"{one_of('pk', chunk)} and stamp in [{listed}]")


def term(bound: Bound, key: str, value: object) -> str:
    """What stands for a value under a key where metadata is looked for; "" for what nothing equals. Two values that
    JSON calls equal have the same, so has now and then another."""
    if isinstance(value, bool) or value is None:
        text = f"{value}"
    elif isinstance(value, str):
        text = f"s{value}"
    elif isinstance(value, int | float):
        text = f"n{float(value).hex()}" if abs(value) < 2**1000 else "n"
    else:
        return ""
    return bound.digest("term", key, text)[:16]


def new_stamp() -> int:
    return secrets.randbits(62)


def dumps(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def chunks(texts_: Sequence[str], size: int = _CHUNK) -> list[Sequence[str]]:
    return [texts_[start : start + size] for start in range(0, len(texts_), size)]


def _row(
    pk: str,
    owner: str,
    kind: str,
    body: str,
    *,
    named: str = "",
    moment: float = 0.0,
    pieces: int = 1,
    terms: Sequence[str] = (),
    stamp: int | None = None,
) -> Fields:
    return schema.record(
        pk=pk,
        owner=owner,
        kind=kind,
        stamp=new_stamp() if stamp is None else stamp,
        named=named,
        moment=moment,
        pieces=pieces,
        terms=list(terms),
        body=body,
    )
