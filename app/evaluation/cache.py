"""What photos gave, kept in one SQLite file: a run that is cut short goes on, and one that is repeated costs nothing.

The values are faces and embeddings of people, so the file is its owner's alone. It may be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from app.evaluation.photos import EvaluationError
from gallery.local.journal import write_ahead

COMMIT_ROWS = 256
COMMIT_S = 2.0
"""A row is on disk once so many more were put, or at the first put so much later: a kill loses no more than that."""
BUSY_S = 60.0
_APPLICATION = 0x66736576  # "fsev": whose file this is
_FORMAT = 1
_CREATE = """
CREATE TABLE kept (photo BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL,
PRIMARY KEY (photo, key))
"""


class Cache:
    """Values by (digest of a photo, key of what was asked of it). Every method may be called from any thread, and
    several processes may use one file at once.

    A row whose checksum is wrong counts as absent. Raises EvaluationError for a file that is damaged beyond that, or
    cannot be written to.
    """

    def __init__(self, path: Path | None) -> None:
        """Opens `path`, or makes it. None: for as long as this object lives, in memory or a nameless file."""
        self._path = path
        self._lock = threading.Lock()
        # Guarded by the lock, as the connection is.
        self._waiting: dict[tuple[bytes, bytes], bytes] = {}
        self._since = 0.0
        with self._explained():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                path or "", timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def get(self, photo: bytes, key: bytes) -> bytes | None:
        """What was put, by this process or another; None where there is nothing, or nothing to be trusted."""
        with self._lock, self._explained():
            if (photo, key) in self._waiting:
                return self._waiting[photo, key]
            query = "SELECT value, checksum FROM kept WHERE photo = ? AND key = ?"
            row = self._connection.execute(query, (photo, key)).fetchone()
        if row is None or not isinstance(row[0], bytes) or row[1] != _checksum(photo, key, row[0]):
            return None
        return row[0]

    def put(self, photo: bytes, key: bytes, value: bytes) -> None:
        """Keeps `value` in place of what was there."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting[photo, key] = value
            if len(self._waiting) >= COMMIT_ROWS or time.monotonic() - self._since >= COMMIT_S:
                self._commit()

    def flush(self) -> None:
        """Commits what was put so far."""
        with self._lock:
            self._commit()

    def close(self) -> None:
        """Commits and closes."""
        with self._lock:
            try:
                self._commit()
            finally:
                self._connection.close()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        rows = [(*key, value, _checksum(*key, value)) for key, value in waiting.items()]
        with self._explained(), _transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)

    def _prepare(self) -> None:
        """Makes a new file ours; EvaluationError for somebody else's, before anything is written to it."""
        self._require_ours()
        if self._path is not None:
            write_ahead(self._connection, within_s=BUSY_S)
        self._connection.execute("PRAGMA synchronous = NORMAL")  # a power cut loses rows, never the file
        with _transaction(self._connection):
            self._require_ours()
            if not self._pragma("user_version"):
                self._connection.execute(_CREATE)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def _require_ours(self) -> None:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        marks = self._pragma("application_id"), self._pragma("user_version")
        if marks != (_APPLICATION, _FORMAT) and (tables or any(marks)):
            raise EvaluationError(
                f"{self._path} is no cache of this version's evaluations: delete it, or name another file"
            )

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, full, read-only, not to be opened
            raise EvaluationError(
                f"the cache {self._path} cannot be used ({error}): is its disk writable and not full, and does no "
                "other process hold it?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise EvaluationError(
                f"the cache {self._path} is damaged, or no cache ({error}): delete it, and what it kept is worked out "
                "anew"
            ) from error


@contextmanager
def open_cache(path: Path | None) -> Iterator[Cache]:
    """The cache in `path`, closed at the end; None for one that is gone with it."""
    cache = Cache(path)
    try:
        yield cache
    finally:
        cache.close()


def _checksum(photo: bytes, key: bytes, value: bytes) -> bytes:
    return blake2b(photo + key + value, digest_size=16).digest()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
