"""What else may happen to a gallery: damage, a clock set back, company, a newer version, another file in its place."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from gallery.local import filesystem, records, rows, storage_faults
from gallery.local.gallery import LocalGallery
from gallery.local.records import IdentityRow
from gallery.types import (
    GalleryBusyError,
    GalleryError,
    Idempotency,
    IdempotencyConflictError,
    ModelMismatchError,
    StorageError,
)
from tests.gallery.local.faults import world
from tests.gallery.local.faults.world import DIMENSION, EMBEDDER, Person, enrols, erases, face

PAGE_BYTES = 8192
PEOPLE = {f"person {number}": Person((number, number + 100), f"note {number}") for number in range(20)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a closed gallery of PEOPLE."""
    made = tmp_path / "gallery"
    with LocalGallery(made) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        for name, person in PEOPLE.items():
            enrols(name, *person.faces, note=person.note).do(gallery)
    return made


def outcome(ask: Callable[[], object]) -> str:
    """ "damaged" where that is what is said, "" where all is well."""
    try:
        ask()
    except GalleryError as error:
        said = str(error)
        return "damaged" if "damaged" in said or "could not be read" in said else said
    return ""


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_page_is_said_to_be_one_or_does_not_matter(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray((folder / "gallery.db").read_bytes())
    page = chance.randrange(1, len(data) // PAGE_BYTES) * PAGE_BYTES
    data[page : page + PAGE_BYTES] = chance.randbytes(PAGE_BYTES)
    (folder / "gallery.db").write_bytes(data)
    opened = outcome(lambda: LocalGallery(folder).close())
    assert opened in ("", "damaged")
    if opened:  # the page that says whether there is a key
        return
    with LocalGallery(folder) as gallery:
        for ask in (world.observed, enrols("new", 200, note="new").do, erases("person 5").do, LocalGallery.check):
            assert outcome(partial(ask, gallery)) in ("", "damaged")


def test_damage_that_sqlite_does_not_see_is_said_to_be_some(folder: Path) -> None:
    query = world.vector(3)[None]
    with LocalGallery(folder) as gallery:
        gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.9)
        with closing(sqlite3.connect(folder / "gallery.db")) as connection, connection:
            connection.execute("UPDATE identities SET metadata = ? WHERE key = 1", ('{"note": ',))
            connection.execute("DROP TRIGGER face_removed")
            connection.execute("DELETE FROM faces WHERE source_sha256 = ?", (bytes.fromhex(world.picture(3)),))
        with pytest.raises(StorageError, match="damaged"):
            world.observed(gallery)
        with pytest.raises(StorageError, match="damaged"):
            gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.9)


def test_damage_does_not_have_an_export_go_round_in_circles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = records.identities_after

    def damaged(connection: sqlite3.Connection, collection: int, after: int, limit: int) -> list[IdentityRow]:
        return honest(connection, collection, min(after, 3), limit)

    monkeypatch.setattr(records, "identities_after", damaged)
    with LocalGallery(folder) as gallery, pytest.raises(StorageError, match="damaged"):
        list(gallery.export("people"))


def test_damage_does_not_have_a_copy_of_the_rows_go_round_in_circles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_PAGE", rows._PAGE.replace("key > ?", "key > min(?, 3)"))
    with LocalGallery(folder) as gallery, pytest.raises(StorageError, match="damaged"):
        gallery.rows("people")


def test_a_damaged_file_is_used_again_once_it_is_restored(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "backup")
    with (folder / "gallery.db").open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(bytes(20 * PAGE_BYTES))
    with LocalGallery(folder) as gallery, pytest.raises(StorageError, match=r"damaged .*: stop the service"):
        world.observed(gallery)
    shutil.rmtree(folder)
    (tmp_path / "backup").rename(folder)
    with LocalGallery(folder) as gallery:
        assert world.observed(gallery) == PEOPLE
        assert world.consistency(gallery, PEOPLE) == []


@pytest.mark.parametrize("back", [100, 5_000, 40_000])
def test_of_a_damaged_log_the_part_before_the_damage_holds(folder: Path, tmp_path: Path, back: int) -> None:
    crashed = tmp_path / "crashed"
    with LocalGallery(folder) as gallery:
        for number in range(200, 210):
            enrols(f"person {number}", number, note=f"note {number}").do(gallery)
        shutil.copytree(folder, crashed)  # as after a crash: the log was not moved into the database
    with (crashed / "gallery.db-wal").open("r+b") as file:
        file.seek(-back, 2)
        file.write(b"damage")
    with LocalGallery(crashed) as gallery:
        found = world.observed(gallery)
        assert world.consistency(gallery, found) == []
        left = len(found) - len(PEOPLE)
        assert list(found) == [*PEOPLE, *(f"person {number}" for number in range(200, 200 + left))]
        assert left < 10
        enrols("later", 300, note="later").do(gallery)
        assert world.consistency(gallery, world.observed(gallery)) == []


def test_a_clock_set_back_forgets_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": time.time()}
    monkeypatch.setattr("time.time", lambda: clock["now"])
    with LocalGallery(folder, idempotency_ttl_s=3600) as gallery:

        def enrol(key: str, fingerprint: str) -> bytes:
            once = Idempotency(key, fingerprint, lambda done: repr(done).encode())
            return gallery.enroll_once("people", "alice", [face(300)], embedder=EMBEDDER, idempotency=once)

        first = enrol("one", "body")
        clock["now"] -= 40 * 86_400
        assert gallery.recall("people", "one", "body") == first == enrol("one", "body")
        enrol("two", "body")
        with pytest.raises(IdempotencyConflictError):
            gallery.recall("people", "one", "other body")
        clock["now"] += 40 * 86_400
        assert gallery.recall("people", "one", "body") == first == enrol("one", "body")
        # What was remembered by the wrong clock is too old for the right one: done again, but not enrolled twice.
        assert gallery.recall("people", "two", "body") is None
        enrol("two", "body")
        assert len(gallery.identity("people", "alice").faces) == 1


def test_two_services_share_one_database(folder: Path) -> None:
    """As several workers of one do; each embedder keeps to its collections."""
    with LocalGallery(folder) as one, LocalGallery(folder) as other:
        enrols("alice", 300, note="by one").do(one)
        other.create_collection("others", "digest of another", DIMENSION)
        erases("person 0").do(other)
        for gallery in (one, other):
            found = world.observed(gallery)
            assert "alice" in found
            assert "person 0" not in found
            assert world.consistency(gallery, found) == []
        with pytest.raises(ModelMismatchError):
            one.enroll("others", "bob", [face(301)], embedder=EMBEDDER)


MOUNTS = """22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
99 22 {major}:{minor} / /srv/a\\040folder rw,relatime shared:5 master:2 - {kind} server:/faces rw,vers=4.2
"""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_share_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    device = folder.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(major=device >> 8 & 0xFFF, minor=device & 0xFF, kind=kind))
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    with pytest.raises(StorageError, match=rf"network share \({kind}\).*use a disk of this machine"):
        LocalGallery(folder)
    mounts.write_text(MOUNTS.format(major=device >> 8 & 0xFFF, minor=device & 0xFF, kind="xfs"))
    LocalGallery(folder).close()


def test_a_newer_service_that_takes_the_database_over_stops_the_older_one(folder: Path) -> None:
    with LocalGallery(folder) as gallery:
        assert world.observed(gallery) == PEOPLE
        with closing(sqlite3.connect(folder / "gallery.db")) as newer:
            newer.execute("PRAGMA user_version = 99")
        for ask in (world.observed, enrols("alice", 300, note="x").do, erases("person 1").do, LocalGallery.check):
            with pytest.raises(StorageError, match="start the newer FaceServe"):
                ask(gallery)
        with closing(sqlite3.connect(folder / "gallery.db")) as newer:
            assert newer.execute("SELECT count(*) FROM identities").fetchone() == (len(PEOPLE),)


@pytest.mark.parametrize("there_is_another", [True, False])
def test_a_database_that_is_replaced_or_removed_is_not_written_to(
    folder: Path, tmp_path: Path, there_is_another: bool
) -> None:
    shutil.copytree(folder, tmp_path / "backup")
    with LocalGallery(folder) as gallery:
        enrols("alice", 300, note="x").do(gallery)
        for path in folder.iterdir():
            path.unlink()
        if there_is_another:
            (tmp_path / "backup" / "gallery.db").rename(folder / "gallery.db")
        for ask in (world.observed, enrols("bob", 301, note="x").do, LocalGallery.ready):
            with pytest.raises(StorageError, match=r"replaced or removed .* restart"):
                ask(gallery)
    if there_is_another:
        with LocalGallery(folder) as gallery:
            assert world.observed(gallery) == PEOPLE
            assert world.consistency(gallery, PEOPLE) == []


def test_while_an_erase_is_unfinished_who_did_not_erase_is_not_told_so(folder: Path) -> None:
    with LocalGallery(folder, busy_timeout_s=0.1, erase_timeout_s=0) as gallery:
        blocker = sqlite3.connect(folder / "gallery.db", isolation_level=None)
        with closing(blocker):
            blocker.execute("BEGIN")
            blocker.execute("SELECT count(*) FROM faces").fetchone()
            with suppress(GalleryError):
                erases("person 8").do(gallery)
            blocker.execute("ROLLBACK")
            blocker.execute("BEGIN IMMEDIATE")
            with pytest.raises(GalleryBusyError, match="nothing was written"):
                erases("person 9").do(gallery)
            assert "person 9" in world.observed(gallery)
            blocker.execute("ROLLBACK")
        erases("person 9").do(gallery)
        assert world.leak(folder, PEOPLE, erases("person 8").after(erases("person 9").after(PEOPLE))) == []


def test_sqlites_words_are_known_whatever_its_version(folder: Path) -> None:
    """Its own message for each code that the gallery tells apart."""
    path = folder / "gallery.db"
    found = {
        words: type(storage_faults.explained(sqlite3.OperationalError(words), path, 5)).__name__
        for words in ("database is locked", "locking protocol", "database or disk is full", "disk I/O error")
    }
    assert list(found.values()) == ["GalleryBusyError", "GalleryBusyError", "StorageFullError", "StorageError"]
