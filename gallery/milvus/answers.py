"""Answers kept for a while, so that a request sent twice is done once."""

from __future__ import annotations

import json
import time

from gallery.milvus import records
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import Connection, quoted
from gallery.milvus.records import ANSWER, Row
from gallery.types import IdempotencyConflictError


def recall(connection: Connection, bound: Bound, key: str, fingerprint: str, since: float) -> bytes | None:
    """The answer stored under the key after `since` (s); IdempotencyConflictError for another fingerprint."""
    start = f"{ANSWER}{bound.digest('answer', key)}/"
    where = f"pk >= {quoted(start)} and pk < {quoted(start[:-1] + '0')} and moment > {since!r}"
    stored = records.joined(records.read(connection, bound, where))
    if stored is None:
        return None
    told = stored.told()
    if told["fingerprint"] != fingerprint:
        raise IdempotencyConflictError(f"idempotency key {key!r} was used with another body; use a new key")
    return str(told["answer"]).encode("latin-1")


def remember(connection: Connection, bound: Bound, key: str, fingerprint: str, owner: str, answer: bytes) -> None:
    """Stores the answer; it goes when its identity goes."""
    text = json.dumps({"fingerprint": fingerprint, "answer": answer.decode("latin-1")})
    connection.upsert(
        bound.records, records.texts(bound.digest("answer", key), owner, ANSWER, text, moment=time.time())
    )


def forget(connection: Connection, bound: Bound, before: float) -> None:
    """Drops the answers stored before that time (s)."""
    connection.delete(bound.records, f'kind == "{ANSWER}" and moment <= {before!r}')


def telling_of(rows: list[Row], face_id: str) -> list[Row]:
    """Of the rows of stored answers those of every answer that names the face."""
    answers: dict[str, list[Row]] = {}
    for row in rows:
        answers.setdefault(row.pk.partition("/")[0], []).append(row)
    told = []
    for own in answers.values():
        text = records.joined(own)
        if text is None or face_id in text.body:
            told += own
    return told
