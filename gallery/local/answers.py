"""Answers kept for a while, so that a request sent twice is done once."""

from __future__ import annotations

import sqlite3

from gallery.local.records import IdentityRow
from gallery.types import IdempotencyConflictError


def recall(
    connection: sqlite3.Connection, collection_key: int, key: str, fingerprint: str, since: float
) -> bytes | None:
    """The answer stored under the key at or after `since` (s); IdempotencyConflictError for another fingerprint."""
    statement = "SELECT fingerprint, answer FROM idempotency WHERE collection = ? AND key = ? AND created_at >= ?"
    row = connection.execute(statement, (collection_key, key, since)).fetchone()
    if row is None:
        return None
    stored_fingerprint, answer = row
    if stored_fingerprint != fingerprint:
        raise IdempotencyConflictError(f"idempotency key {key!r} was used with another body; use a new key")
    return bytes(answer)


def remember(
    connection: sqlite3.Connection,
    collection_key: int,
    key: str,
    fingerprint: str,
    owner: IdentityRow,
    answer: bytes,
    at: float,
) -> None:
    """Stores the answer; it goes when its identity goes."""
    connection.execute(
        "INSERT INTO idempotency (collection, key, fingerprint, identity, created_at, tag, answer) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (collection_key, key, fingerprint, owner.key, at, owner.tag, answer),
    )


def forget(connection: sqlite3.Connection, before: float) -> None:
    """Drops the answers stored before that time (s)."""
    connection.execute("DELETE FROM idempotency WHERE created_at < ?", (before,))
