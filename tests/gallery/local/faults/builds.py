"""Builds of a gallery: broken ones, each of which a checker must convict, and honest ones with a key."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

from gallery.local import erase, promises, store
from gallery.local.gallery import LocalGallery
from gallery.local.projection import Projection
from gallery.local.store import Store
from gallery.types import Enrolment, KeyRefusedError, NewFace
from tests.gallery.local.encryption import sealing
from tests.gallery.local.encryption.sealing import KEY
from tests.gallery.local.faults import world


def acknowledges_early() -> None:
    """A transaction is committed when the next one begins, or at the end."""
    close = Store.close

    @contextmanager
    def write(self: Store) -> Iterator[sqlite3.Connection]:
        if self._writer.in_transaction:
            self._writer.execute("COMMIT")
        self._writer.execute("BEGIN IMMEDIATE")
        yield self._writer

    def late(self: Store) -> None:
        if self._writer.in_transaction:
            self._writer.execute("COMMIT")
        close(self)

    Store.write, Store.close = write, late  # type: ignore[method-assign]


def never_syncs() -> None:
    """Loses nothing when it is killed, but all when the power fails."""
    store._PRAGMAS = tuple(  # type: ignore[assignment]
        each.replace("= FULL", "= OFF") for each in store._PRAGMAS
    )


def enrols_by_halves() -> None:
    """A transaction a face."""
    whole = LocalGallery.enroll

    def enroll(self: LocalGallery, collection: str, identity: str, faces: Sequence[NewFace], **rest: Any) -> Enrolment:
        first, *_ = [whole(self, collection, identity, [face], **rest) for face in faces]
        return first

    LocalGallery.enroll = enroll  # type: ignore[method-assign]


def follows_nothing() -> None:
    """The index does not apply the change log."""

    def follow(self: Projection, connection: sqlite3.Connection, row: Any) -> bool:
        if row.key != self._collection:
            return False
        self._applied = row.newest
        return True

    Projection._follow = follow  # type: ignore[method-assign]


def wipes_nothing() -> None:
    """Deletes as any database does."""
    store._PRAGMAS = tuple(  # type: ignore[assignment]
        each.replace("secure_delete = ON", "secure_delete = OFF") for each in store._PRAGMAS
    )
    erase._wipe = lambda *_: None


def promises_nothing() -> None:
    """Wipes, but does not remember after a crash that it was to."""
    promises.promise = lambda *_: None


def encrypts() -> None:
    """The honest one, with a key; whoever's face is readable is a leak."""
    leak = world.leak
    LocalGallery.__init__ = partialmethod(LocalGallery.__init__, key=KEY)  # type: ignore[assignment]
    world.leak = lambda folder, before, after: [*leak(folder, before, after), *_readable(folder)]


def turns() -> None:
    """The honest one, with a key where the gallery needs it; from then on whoever's face is readable is a leak."""
    plain = LocalGallery.__init__

    def init(self: LocalGallery, folder: Path) -> None:
        try:
            plain(self, folder)
        except KeyRefusedError:
            plain(self, folder, key=KEY)

    LocalGallery.__init__ = init  # type: ignore[assignment]
    world.leak = lambda folder, before, after: _readable(folder) if _is_encrypted(folder) else []


def _readable(folder: Path) -> list[str]:
    return [f"leak: {each}" for each in sealing.readable(folder, map(world.face, range(20)))]


def _is_encrypted(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "gallery.db")) as connection:
        return bool(connection.execute("SELECT count(*) FROM vault").fetchone()[0])


BUILDS: dict[str, Callable[[], None]] = {
    "honest": lambda: None,
    "early": acknowledges_early,
    "unsynced": never_syncs,
    "halves": enrols_by_halves,
    "unfollowed": follows_nothing,
    "unwiped": wipes_nothing,
    "unpromised": promises_nothing,
    "encrypted": encrypts,
    "turning": turns,
}
