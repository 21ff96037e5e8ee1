"""The key that a database's blobs are sealed with: random, and kept in the database itself, sealed by the key from the
environment. So the latter can be changed without a row being written.

Each function is a few statements in the caller's transaction.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from gallery.local import promises, schema
from gallery.local.encryption import vault
from gallery.local.encryption.keys import KEY_BYTES
from gallery.local.encryption.vault import Vault
from gallery.local.storage_faults import damaged
from gallery.types import KeyRefusedError

_BOUND = b"data key"
_TAG_BYTES = 16


def unlocked(connection: sqlite3.Connection, path: Path, key: bytes | None, old_key: bytes | None) -> Vault:
    """The database's vault, made with `key` where there is none and no face yet; `old_key` opens it too. Raises
    KeyRefusedError."""
    row = connection.execute("SELECT key, wrapped FROM vault").fetchone()
    number = row[0] if row else 0
    if schema.state_of(connection).vault != number:
        raise damaged(path, ValueError("its data key is not the one that its rows are sealed with"))
    if row is None:
        return _unlocked_plain(connection, path, key)
    if key is None:
        raise KeyRefusedError(f"the gallery in {path.parent} is encrypted: set FACESERVE_GALLERY_KEY to its key")
    for each in (key, old_key):
        data_key = None if each is None else vault.opened(vault.cipher(each), row[1], _BOUND)
        if data_key is not None:
            return Vault(path, number, vault.cipher(data_key))
    which = "not with this key" if old_key is None else "neither with this key nor with the one before it"
    raise KeyRefusedError(
        f"the gallery in {path.parent} is encrypted, but {which}: it opens with the one that it was encrypted with, or "
        "that `faceserve gallery rekey` gave it last"
    )


def _unlocked_plain(connection: sqlite3.Connection, path: Path, key: bytes | None) -> Vault:
    if key is None:
        return Vault(path)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM faces)").fetchone()[0]:
        raise KeyRefusedError(
            f"the gallery in {path.parent} holds faces that are not encrypted: run `faceserve gallery encrypt`, or "
            "unset FACESERVE_GALLERY_KEY"
        )
    return made(connection, path, key)


def made(connection: sqlite3.Connection, path: Path, key: bytes | None) -> Vault:
    """A vault with a new data key, or a plain one where no key is given, in place of what there is; writes no row of a
    face."""
    _promise(connection)
    connection.execute("DELETE FROM vault")
    if key is None:
        schema.set_vault(connection, 0)
        return Vault(path)
    data_key = os.urandom(KEY_BYTES)
    values = (os.urandom(_TAG_BYTES), vault.sealed(vault.cipher(key), data_key, _BOUND))
    number = connection.execute("INSERT INTO vault (tag, wrapped) VALUES (?, ?)", values).lastrowid
    assert number is not None
    schema.set_vault(connection, number)
    return Vault(path, number, vault.cipher(data_key))


def rewrap(connection: sqlite3.Connection, old: bytes, new: bytes) -> None:
    """Has the key `new` open what `old` opens now; raises KeyRefusedError where somebody was faster."""
    wrapped = connection.execute("SELECT wrapped FROM vault").fetchone()[0]
    data_key = vault.opened(vault.cipher(old), wrapped, _BOUND)
    if data_key is None:  # the store was opened with it
        folder = vault.of(connection).path.parent
        raise KeyRefusedError(f"the gallery in {folder} was given another key meanwhile; this one opens it no more")
    _promise(connection)
    values = (os.urandom(_TAG_BYTES), vault.sealed(vault.cipher(new), data_key, _BOUND))
    connection.execute("UPDATE vault SET tag = ?, wrapped = ?", values)


def _promise(connection: sqlite3.Connection) -> None:
    """That what an earlier key opens leaves the files, as the erased do."""
    for (tag,) in connection.execute("SELECT tag FROM vault").fetchall():
        promises.promise(connection, tag)
