"""SQLite, the truth: connections and transactions."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gallery.local import expiry, schema
from gallery.local.encryption import data_key
from gallery.local.encryption.vault import Connection, Vault
from gallery.local.filesystem import network_share
from gallery.local.journal import write_ahead
from gallery.local.rawfile import RawFile
from gallery.local.storage_faults import damaged, explained, is_busy
from gallery.types import GalleryBusyError, KeyRefusedError, StorageError

_TRIM = "DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?"

# FULL: under WAL, NORMAL would survive kill -9 but not a power cut.
_PRAGMAS = (
    "foreign_keys = ON",
    "secure_delete = ON",
    "synchronous = FULL",
    "temp_store = MEMORY",
    "cell_size_check = ON",
)

KEEP_CHANGES = 100_000
"""How long the change log is, in changes."""

# Three faces of 512 numbers fit a page, on SQLite's default of 4,096 only one.
_PAGE_BYTES = 8192


# Between two looks whether another process has done writing: at random, so that none always comes too late.
_LOOK_AGAIN_S = (0.0002, 0.0015)


class Store:
    """One database file, shared with other processes of this host. Every method may be called from any thread.

    Writes take turns on one connection; each read has a connection of a pool to itself, so readers never wait.
    sqlite3's errors leave as GalleryBusyError (locked past `busy_timeout_s`; nothing was written) or StorageError, as
    does a database that was replaced, removed, or taken over by a newer version of the service while it is open.
    No transaction sees an identity whose time has come: who meets one removes it first, be it to read. Where that
    cannot be, there is an error instead of an answer. `on_expiry` hears when the next one expires.
    `key` opens its `vault`, or `old_key`; KeyRefusedError where none does, or where another data key came meanwhile.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float,
        keep_changes: int = KEEP_CHANGES,
        key: bytes | None = None,
        old_key: bytes | None = None,
    ) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self.keep_changes = keep_changes
        self._turn = threading.Lock()
        self._pool = threading.Condition()
        self._idle: list[Connection] = []
        self._reading = 0
        self._closed = False
        self._clock = expiry.Clock()
        self.on_expiry: Callable[[float], None] = lambda moment: None
        self._raw = _made(path)
        self.vault = Vault(path)
        try:
            self._writer = self._prepared(key, old_key)
        except BaseException:
            self._raw.close()
            raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot, fixed by the first SELECT. Keep it short: an erase waits for it."""
        with self._explained():
            while True:
                connection = self._borrow()
                try:
                    connection.execute("BEGIN")
                    if not self._is_somebody_due(connection):
                        yield connection
                        return
                finally:
                    self._give_back(connection)
                with self.write():
                    pass

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk when the block ends, undone when it raises."""
        with self._explained(), self._writers_turn() as connection:
            try:
                self._begin_without_the_due(connection)
                yield connection
                self._commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def truncate_log(self) -> bool:
        """Moves the write-ahead log into the database and empties its file; False while a reader or writer is in it."""
        # A connection of its own with a short wait: a checkpoint that waits for readers holds up every writer.
        with self._explained(), closing(self._connect(timeout_s=0.05)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def compact(self) -> None:
        """Writes the whole database anew, so that it holds nothing but what its tables hold."""
        with self._explained(), self._writers_turn() as connection:
            connection.execute("VACUUM")

    def holds(self, needles: Sequence[bytes]) -> bool:
        """Whether any of the byte strings lies in the database file (not its write-ahead log)."""
        try:
            return self._raw.contains(needles)
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Waits for reads and writes in progress; later ones are refused. May be called twice."""
        with self._turn, self._pool:
            if self._closed:
                return
            self._closed = True
            self._pool.wait_for(lambda: not self._reading)
            for connection in (self._writer, *self._idle):
                connection.close()
            self._idle.clear()
            self._raw.close()

    def _begin_without_the_due(self, connection: sqlite3.Connection) -> None:
        """Raises GalleryBusyError where they are too many to be removed within the busy timeout; some are then."""
        deadline = time.monotonic() + self._busy_timeout_s
        self._begin(connection)
        while self._is_somebody_due(connection):
            expiry.remove_due(connection, self._clock.now())
            self._commit(connection)
            if time.monotonic() > deadline:
                raise GalleryBusyError(f"{self.path}: many identities expired at once and are being removed; try again")
            self._begin(connection)

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute(_TRIM, (self.keep_changes,))
        moment = expiry.next_moment(connection)
        connection.execute("COMMIT")
        # It may be the last transaction for long. Not before the commit: who hears of an end must find it.
        if moment is not None:
            self.on_expiry(moment)

    def _is_somebody_due(self, connection: sqlite3.Connection) -> bool:
        """Asked at the beginning of every transaction; raises StorageError where it must not go on."""
        self._refuse_another(connection)
        moment = expiry.next_moment(connection)
        if moment is None:
            return False
        self.on_expiry(moment)
        if moment > self._clock.now():
            return False
        self._clock.require_steady()
        return True

    def _borrow(self) -> Connection:
        with self._pool:
            if self._closed:
                raise StorageError(f"the gallery in {self.path.parent} is closed")
            if not self._idle:
                self._idle.append(self._connect(timeout_s=self._busy_timeout_s))
                self._idle[-1].execute("PRAGMA query_only = ON")
            self._reading += 1
            return self._idle.pop()

    def _give_back(self, connection: Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            with self._pool:
                self._idle.append(connection)
                self._reading -= 1
                self._pool.notify_all()

    @contextmanager
    def _writers_turn(self) -> Iterator[sqlite3.Connection]:
        if not self._turn.acquire(timeout=self._busy_timeout_s):
            raise GalleryBusyError(f"{self.path} had no turn to write within {self._busy_timeout_s} s; try again")
        try:
            if self._closed:
                raise StorageError(f"the gallery in {self.path.parent} is closed")
            yield self._writer
        finally:
            self._turn.release()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Takes the turn to write among all processes, within the busy timeout."""
        # SQLite's own wait grows to 100 ms a look, so that of several busy processes some starve.
        deadline = time.monotonic() + self._busy_timeout_s
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() > deadline:
                        raise
                time.sleep(random.uniform(*_LOOK_AGAIN_S))
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * self._busy_timeout_s)}")

    def _connect(self, *, timeout_s: float) -> Connection:
        connection = sqlite3.connect(
            self.path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=Connection
        )
        connection.vault = self.vault
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepared(self, key: bytes | None, old_key: bytes | None) -> Connection:
        with self._explained():
            connection = self._connect(timeout_s=self._busy_timeout_s)
            try:
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                self._write_ahead(connection)
                connection.execute("BEGIN IMMEDIATE")
                schema.create(connection)
                connection.vault = self.vault = data_key.unlocked(connection, self.path, key, old_key)
                self._mark = schema.mark_of(self.vault.number)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            return connection

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        if write_ahead(connection, within_s=self._busy_timeout_s) != "wal":
            raise StorageError(f"{self.path}: this file system has no shared memory for SQLite's WAL; use a local one")

    def _refuse_another(self, connection: sqlite3.Connection) -> None:
        if not self._raw.is_at(self.path):
            raise StorageError(f"{self.path} was replaced or removed while it was open: restart the service")
        mark = connection.execute("PRAGMA user_version").fetchone()[0]
        if mark != self._mark and schema.state_of(connection).vault != self.vault.number:
            raise KeyRefusedError(
                f"the gallery in {self.path.parent} was encrypted, decrypted or given another data key while it was "
                "open: restart the service, with its key of now in FACESERVE_GALLERY_KEY"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # a mistake in this package, not of the disk
        except sqlite3.DatabaseError as error:
            raise explained(error, self.path, self._busy_timeout_s) from error
        except json.JSONDecodeError as error:  # what is stored was valid when it was written
            raise damaged(self.path, error) from error


def _made(path: Path) -> RawFile:
    """The database's file, made if need be; raises StorageError where that cannot be, or must not."""
    try:
        # Biometric data is its owner's alone; SQLite gives its other files the mode of this one.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        kind = network_share(path)
        if kind is None:
            return RawFile(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; the gallery needs a folder to read and write") from error
    raise StorageError(
        f"{path} lies on a network share ({kind}), where two machines would damage it: use a disk of this machine"
    )
