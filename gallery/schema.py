"""The gallery's tables: what is stored, in which order, and why."""

from __future__ import annotations

import sqlite3

from gallery.types import StorageError

VERSION = 1

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


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables that are missing, inside the caller's transaction; StorageError for a newer version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StorageError(
            f"the gallery's database has schema version {version}, this program knows up to {VERSION}: "
            "start the newer FaceServe that wrote it"
        )
    if version < VERSION:
        for statement in _statements():
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute(_GATHERED)


def _statements() -> list[str]:
    # Not executescript: it would commit the transaction that keeps two starting processes apart.
    statements: list[str] = []
    pending = ""
    for line in _SCHEMA.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
