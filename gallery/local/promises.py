"""Promises of erasure: rows that a deleting transaction leaves behind, until the bytes are out of the files.

A record holds the tag inverted: otherwise the search of the files for the tag would find the record itself.
"""

from __future__ import annotations

import sqlite3


def promise(connection: sqlite3.Connection, *tags: bytes) -> None:
    """Records, in the transaction that deletes them, that rows beginning with these tags are to leave the files.

    No tag at all means: too many to search for one by one, write the file anew.
    """
    rows: list[tuple[bytes | None]] = [(_inverted(tag),) for tag in tags] or [(None,)]
    connection.executemany("INSERT INTO erasures (inverted_tag) VALUES (?)", rows)


def pending(connection: sqlite3.Connection) -> list[tuple[int, bytes | None]]:
    """The promises that are not kept yet: their keys, and their tags, None for the whole file."""
    found = connection.execute("SELECT key, inverted_tag FROM erasures")
    return [(key, None if tag is None else _inverted(tag)) for key, tag in found]


def kept(connection: sqlite3.Connection, done: list[tuple[int, bytes | None]]) -> None:
    """Forgets them."""
    connection.executemany("DELETE FROM erasures WHERE key = ?", [(key,) for key, _ in done])


def _inverted(tag: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in tag)
