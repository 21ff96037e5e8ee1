"""A database of an earlier version opens, loses nothing, and does what a new one does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gallery.filters import Filter
from gallery.local import schema
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace, StorageError

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


def shape(connection: sqlite3.Connection) -> dict[str, str]:
    """Every table, index and trigger with its statement."""
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(statement.split()) for name, statement in found}


def written_by(folder: Path, version: int) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(Path(__file__).with_name(f"version_{version}.sql").read_text("utf-8"))
        connection.execute(f"PRAGMA user_version = {version}")
    return folder


@pytest.fixture
def first_version(folder: Path) -> Path:
    """A gallery as version 1 wrote it: alice (sales) with two faces, one with a crop, and bob with one and an answer
    kept; somebody between them was erased."""
    return written_by(folder, 1)


@pytest.fixture
def second_version(folder: Path) -> Path:
    """A gallery as version 2 wrote it: as the first, bob described anew, and carol with two faces in `staff`, which
    scores by the mean and has limits."""
    return written_by(folder, 2)


def test_the_first_version_opens_and_loses_nothing(first_version: Path, new_face: Faces) -> None:
    with LocalGallery(first_version, idempotency_ttl_s=1e12) as gallery:
        assert gallery.check() == []
        about = gallery.collection("people")
        assert (about.identities, about.faces, about.dimension) == (2, 3, 16)
        alice = gallery.identity("people", "alice")
        assert alice.metadata == {"department": "sales"}
        assert gallery.crop("people", "alice", alice.faces[1].face_id) == b"\x89PNG\0crop"
        answer = gallery.recall("people", "key", "body")
        assert answer is not None
        assert answer.startswith(b"bob ")
        query = new_face(2).embedding[None]
        [[match]] = gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.99)
        assert match.identity == "alice"


def test_what_was_the_first_version_does_what_is_new(first_version: Path, new_face: Faces) -> None:
    chosen, query = Filter.of({"department": "sales"}), new_face(3).embedding[None]
    with LocalGallery(first_version) as gallery:

        def found() -> list[str]:
            [matches] = gallery.search("people", query, embedder=EMBEDDER, top_k=9, threshold=-1, chosen=chosen)
            return [match.identity for match in matches]

        assert found() == ["alice"]
        gallery.update_identity("people", "bob", metadata={"department": "sales"})
        assert found() == ["bob", "alice"]
        gallery.delete_identity("people", "alice")
        assert found() == ["bob"]
        assert gallery.collection("people").identities == 1


@pytest.mark.parametrize("version", [1, 2])
def test_however_a_database_came_to_be_it_is_the_same(tmp_path: Path, version: int) -> None:
    LocalGallery(written_by(tmp_path / "old", version)).close()
    LocalGallery(tmp_path / "new").close()
    with (
        closing(sqlite3.connect(tmp_path / "old" / "gallery.db")) as old,
        closing(sqlite3.connect(tmp_path / "new" / "gallery.db")) as new,
    ):
        assert shape(old) == shape(new)
        assert old.execute("PRAGMA user_version").fetchone() == new.execute("PRAGMA user_version").fetchone()


def test_the_second_version_opens_loses_nothing_and_does_what_is_new(second_version: Path, new_face: Faces) -> None:
    with LocalGallery(second_version, idempotency_ttl_s=1e12) as gallery:
        assert gallery.check() == []
        assert [(each.name, each.identities, each.faces, each.ttl_s) for each in gallery.collections()] == [
            ("people", 2, 3, None),
            ("staff", 1, 2, None),
        ]
        alice = gallery.identity("people", "alice")
        assert (alice.metadata, alice.expires_at) == ({"department": "sales"}, None)
        assert gallery.crop("people", "alice", alice.faces[1].face_id) == b"\x89PNG\0crop"
        assert gallery.recall("people", "key", "body") is not None
        assert gallery.collection("staff").max_faces == 3
        [[match]] = gallery.search("staff", new_face(5).embedding[None], embedder=EMBEDDER, top_k=1, threshold=0.5)
        assert match.identity == "carol"
        for collection, name in (("people", "alice"), ("staff", "carol")):
            gallery.update_identity(collection, name, expires_at=1.0)
        assert [(each.identities, each.faces) for each in gallery.collections()] == [(1, 1), (0, 0)]
        assert gallery.check() == []


def test_a_step_that_fails_leaves_the_version_it_found(first_version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*schema._STEPS[:-1], schema._STEPS[-1] + "INSERT INTO nowhere VALUES (1);\n")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "_STEPS", broken)
        with pytest.raises(StorageError, match="nowhere"):
            LocalGallery(first_version)
    with closing(sqlite3.connect(first_version / "gallery.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with LocalGallery(first_version) as gallery:
        assert gallery.collection("people").faces == 3
