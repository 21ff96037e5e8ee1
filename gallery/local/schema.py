"""The gallery's tables: what is stored, in which order, and why."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from gallery.types import StorageError

# The order of columns matters to erasing (see erase.py): SQLite lays a row out in this order, and `tag` (random, the
# identity's for life) or `id` (random, the face's) stands before all that is personal. A stale copy of a row is
# overwritten from its end, so whatever is left of it still begins with a tag that can be searched for.
# Names and pictures are looked up by digests, so that no index holds a name or a picture's SHA-256; `picture` is keyed
# with the tag, and says nothing once the tag is gone.
# The counts, the newest change and the change log are kept by triggers: no statement can forget them.
_SCHEMA = """
CREATE TABLE collections (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    embedder TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    identities INTEGER NOT NULL DEFAULT 0,
    faces INTEGER NOT NULL DEFAULT 0,
    newest INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE identities (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    digest BLOB NOT NULL,
    tag BLOB NOT NULL,
    name TEXT NOT NULL,
    metadata TEXT NOT NULL,
    UNIQUE (collection, digest),
    UNIQUE (collection, tag)
);
CREATE INDEX identities_in ON identities (collection, key);
CREATE TABLE faces (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    identity INTEGER NOT NULL REFERENCES identities ON DELETE CASCADE,
    picture BLOB NOT NULL,
    created_at TEXT NOT NULL,
    tag BLOB NOT NULL,
    id BLOB NOT NULL,
    source_sha256 BLOB NOT NULL,
    quality TEXT NOT NULL,
    embedding BLOB NOT NULL,
    UNIQUE (collection, id),
    UNIQUE (identity, picture)
);
CREATE INDEX faces_in ON faces (collection, key);
CREATE INDEX faces_of ON faces (identity, key);
CREATE TABLE crops (
    face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE,
    tag BLOB NOT NULL,
    id BLOB NOT NULL,
    png BLOB NOT NULL
);
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    op TEXT NOT NULL,
    face INTEGER NOT NULL
);
CREATE TABLE idempotency (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    identity INTEGER NOT NULL REFERENCES identities ON DELETE CASCADE,
    created_at REAL NOT NULL,
    tag BLOB NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (collection, key)
);
CREATE INDEX idempotency_of ON idempotency (identity);
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE TABLE erasures (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    inverted_tag BLOB
);
CREATE TRIGGER identity_added AFTER INSERT ON identities BEGIN
    UPDATE collections SET identities = identities + 1 WHERE key = new.collection;
END;
CREATE TRIGGER identity_removed AFTER DELETE ON identities BEGIN
    UPDATE collections SET identities = identities - 1 WHERE key = old.collection;
END;
CREATE TRIGGER face_added AFTER INSERT ON faces BEGIN
    INSERT INTO changes (collection, op, face) VALUES (new.collection, 'add', new.key);
    UPDATE collections SET faces = faces + 1, newest = (SELECT max(seq) FROM changes) WHERE key = new.collection;
END;
CREATE TRIGGER face_removed AFTER DELETE ON faces WHEN EXISTS (SELECT 1 FROM collections WHERE key = old.collection)
BEGIN
    INSERT INTO changes (collection, op, face) VALUES (old.collection, 'remove', old.key);
    UPDATE collections SET faces = faces - 1, newest = (SELECT max(seq) FROM changes) WHERE key = old.collection;
END;
"""

# Version 2. `descriptions` tells whose metadata changed, or who went, in which order: keys only, and the newest alone;
# `described` is the collection's last.
_DESCRIBED = """
ALTER TABLE collections ADD COLUMN described INTEGER NOT NULL DEFAULT 0;
CREATE TABLE descriptions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    identity INTEGER NOT NULL
);
CREATE TRIGGER description_added AFTER INSERT ON descriptions BEGIN
    UPDATE collections SET described = new.seq WHERE key = new.collection;
    DELETE FROM descriptions WHERE seq <= new.seq - 10000;
END;
CREATE TRIGGER identity_described AFTER UPDATE OF metadata ON identities WHEN new.metadata <> old.metadata BEGIN
    INSERT INTO descriptions (collection, identity) VALUES (new.collection, new.key);
END;
DROP TRIGGER identity_removed;
CREATE TRIGGER identity_removed AFTER DELETE ON identities
WHEN EXISTS (SELECT 1 FROM collections WHERE key = old.collection) BEGIN
    UPDATE collections SET identities = identities - 1 WHERE key = old.collection;
    INSERT INTO descriptions (collection, identity) VALUES (old.collection, old.key);
END;
"""

# `scoring` is max or mean; limits are NULL where there are none; a collection of templates is `templates_of` another
# (see templates.py).
_TERMS = """
ALTER TABLE collections ADD COLUMN scoring TEXT NOT NULL DEFAULT 'max';
ALTER TABLE collections ADD COLUMN max_identities INTEGER;
ALTER TABLE collections ADD COLUMN max_faces INTEGER;
ALTER TABLE collections ADD COLUMN templates_of INTEGER REFERENCES collections ON DELETE CASCADE;
"""

# Version 3. The moment an identity expires, in seconds since 1970-01-01T00:00Z, NULL for never: the least of them is
# looked up in every transaction (see expiry.py). `ttl_s` is what a collection's identities get who are given none.
_EXPIRING = """
ALTER TABLE collections ADD COLUMN ttl_s REAL;
ALTER TABLE identities ADD COLUMN expires_at REAL;
CREATE INDEX identities_expiring ON identities (expires_at) WHERE expires_at IS NOT NULL;
"""

_STEPS = (_SCHEMA, _DESCRIBED + _TERMS, _EXPIRING)
"""What makes each version out of the one before it; a new database takes them all."""
VERSION = len(_STEPS)

# New embeddings, gathered beside the faces until a collection has them all (see reembed.py). It came without a new
# version: a program that does not know it may use the database, for a face that goes takes its row along.
_GATHERED = """
CREATE TABLE IF NOT EXISTS reembedded (
    face INTEGER NOT NULL REFERENCES faces ON DELETE CASCADE,
    tag BLOB NOT NULL,
    id BLOB NOT NULL,
    embedder TEXT NOT NULL,
    embedding BLOB NOT NULL,
    PRIMARY KEY (face, embedder)
)
"""

# Which snapshot of a collection's index is this database's (see snapshots.py).
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS snapshots (
    collection INTEGER PRIMARY KEY REFERENCES collections ON DELETE CASCADE,
    token TEXT NOT NULL
)
"""

# The key that embeddings and crops are sealed with, itself sealed (see data_key.py): one row, or none. Like a person's
# rows it begins with a random tag that can be searched for.
_VAULT = """
CREATE TABLE IF NOT EXISTS vault (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    tag BLOB NOT NULL,
    wrapped BLOB NOT NULL
)
"""

# SQLite's `user_version` is the schema's version plus a thousand times the number of the key in `vault`: a transaction
# learns both from one look, and a program that knows nothing of keys takes the sum for a version newer than its own.
_A_VAULT = 1000


class State(NamedTuple):
    """A schema's version, and the number of the key that blobs are sealed with; 0 is none."""

    version: int
    vault: int


def create(connection: sqlite3.Connection) -> None:
    """Makes what is missing since the version found, inside the caller's transaction; StorageError for a newer one."""
    version, vault = state_of(connection)
    for step in _STEPS[version:]:
        for statement in _statements(step):
            connection.execute(statement)
    if version < VERSION:
        set_vault(connection, vault)
    connection.execute(_GATHERED)
    connection.execute(_SNAPSHOTS)
    connection.execute(_VAULT)


def mark_of(vault: int) -> int:
    """The `user_version` of a database of this version, whose blobs are sealed with the key of that number."""
    return VERSION + _A_VAULT * vault


def set_vault(connection: sqlite3.Connection, number: int) -> None:
    """Says, in the caller's transaction, with which key blobs are sealed from now on; the version is this program's."""
    connection.execute(f"PRAGMA user_version = {mark_of(number)}")


def state_of(connection: sqlite3.Connection) -> State:
    """What is found; StorageError for a newer version than this program's, which it would misread."""
    vault, version = divmod(connection.execute("PRAGMA user_version").fetchone()[0], _A_VAULT)
    if version > VERSION:
        raise StorageError(
            f"the gallery's database has schema version {version}, this program knows up to {VERSION}: "
            "start the newer FaceServe that wrote it"
        )
    return State(version, vault)


def _statements(script: str) -> list[str]:
    # Not executescript: it would commit the transaction that keeps two starting processes apart.
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
