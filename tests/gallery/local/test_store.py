"""The database under the gallery: opened, locked, damaged, closed, and compared with the index."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gallery.local.gallery import LocalGallery
from gallery.local.index.flat import FlatIndex
from gallery.types import (
    GalleryBusyError,
    NewFace,
    StorageError,
)

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]
Names = Callable[..., list[str]]


def test_opening_waits_for_who_is_making_the_database(folder: Path) -> None:
    folder.mkdir()
    maker = sqlite3.connect(folder / "gallery.db", isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    maker.execute("PRAGMA user_version = 0")
    ends = threading.Timer(0.2, maker.execute, ("ROLLBACK",))
    ends.start()
    with LocalGallery(folder) as gallery:
        assert gallery.collections() == []
    ends.join()
    maker.close()


def test_check_reports_a_broken_index(gallery: LocalGallery, new_face: Faces) -> None:
    for number in range(3):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    assert gallery.check() == []
    with gallery._projections.current("people") as view:
        index = view.index.flat
        assert isinstance(index, FlatIndex)
        faces = [face for face, _, _ in index.rows()]
        index._segments[0].embeddings[0, 3] ^= 1
        index._segments[0].identities[1] += 1
        index.remove(faces[2])
    first, second, third = gallery.check()
    assert "another embedding" in first
    assert "the index says" in second
    assert "not in the index" in third


def test_check_reports_a_face_that_should_be_gone_and_a_wrong_count(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    assert names(gallery, new_face(1).embedding) == ["alice"]
    with sqlite3.connect(folder / "gallery.db") as connection:
        connection.execute("DROP TRIGGER face_removed")
        connection.execute("DELETE FROM faces")
    connection.close()
    gone, count = gallery.check()
    assert "not in the database" in gone
    assert "has 0 faces, its count says 1" in count


def test_a_lock_held_too_long_is_busy_and_writes_nothing(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder, busy_timeout_s=0.1) as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        blocker = sqlite3.connect(folder / "gallery.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryBusyError, match="nothing was written"):
            gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
        assert gallery.collection("people").faces == 0  # reading goes on
        blocker.execute("ROLLBACK")
        blocker.close()
        assert gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER).created


def test_a_newer_databases_version_is_refused(gallery: LocalGallery, folder: Path) -> None:
    gallery.close()
    connection = sqlite3.connect(folder / "gallery.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="version 99"):
        LocalGallery(folder)


def test_a_file_that_is_no_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "gallery.db").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        LocalGallery(folder)


def test_a_closed_gallery_says_so(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.ready()
    gallery.close()
    gallery.close()
    with pytest.raises(StorageError, match="closed"):
        gallery.ready()
    with pytest.raises(StorageError, match="closed"):
        gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)


def test_the_files_are_their_owners_alone(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_reopened_it_knows_what_it_knew(gallery: LocalGallery, folder: Path, new_face: Faces, names: Names) -> None:
    before = time.time()
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER, metadata={"a": 1})
    identity = gallery.identity("people", "alice")
    gallery.close()
    with LocalGallery(folder) as again:
        assert again.identity("people", "alice") == identity
        assert names(again, new_face(1).embedding) == ["alice"]
    assert identity.created_at >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before))
