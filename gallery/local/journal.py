"""How a database file that several processes share comes to have a write-ahead log."""

from __future__ import annotations

import sqlite3
import time

_PAUSE_S = 0.01


def write_ahead(connection: sqlite3.Connection, *, within_s: float) -> str:
    """Asks for SQLite's write-ahead log; the journal mode there is then, "wal" where the file system allows it.

    Raises sqlite3.OperationalError, where others hold the file for longer than that too.
    """
    # While another process opens the new database too, SQLite answers "locked" at once, whatever the timeout.
    deadline = time.monotonic() + within_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
            continue
        return str(mode)
