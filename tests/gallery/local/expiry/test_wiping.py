"""The bytes of the expired leave the files; and what happens where they cannot be removed, or the clock is wrong."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local import erase, expiry, sweeper
from gallery.local.gallery import LocalGallery
from gallery.types import (
    Enrolment,
    EraseIncompleteError,
    GalleryBusyError,
    Idempotency,
    NewFace,
    StorageError,
)

if TYPE_CHECKING:
    from tests.gallery.local.expiry.conftest import Hands


EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
START = 1_800_000_000.0
Faces = Callable[[int], NewFace]
Vector = Callable[[int], NDArray[np.float32]]


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm")


def test_its_bytes_leave_the_files_without_being_asked(
    folder: Path, clock: Hands, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "GATHER_S", 0)
    monkeypatch.setattr(sweeper, "_LOOK_S", 0.01)
    bob = NewFace(new_face(1).embedding, "a1" * 32, {"score": 0.123456789}, crop_png=b"\x89PNG of bob" * 1000)
    secrets = [b"Robert", b"bob@example.org", b"0.123456789", bob.embedding.tobytes(), b"PNG of bob", b"answer for bob"]
    once = Idempotency("key", "body", lambda done: b"answer for bob")
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        said = {"mail": "bob@example.org"}
        gallery.enroll_once(
            "people", "Robert", [bob], embedder=EMBEDDER, idempotency=once, metadata=said, expires_at=START + 9
        )
        gallery.enroll("people", "carol", [new_face(2)], embedder=EMBEDDER)
        assert [secret for secret in secrets if secret not in everything(folder)] == []
        clock.now += 9
        deadline = time.monotonic() + 30
        while any(secret in everything(folder) for secret in secrets) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert [secret for secret in secrets if secret in everything(folder)] == []
        assert gallery.collection("people").identities == 1


def test_an_enrolment_that_nothing_follows_is_wiped_too(
    gallery: LocalGallery, clock: Hands, folder: Path, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "GATHER_S", 0)
    monkeypatch.setattr(sweeper, "_LOOK_S", 0.01)
    gallery.enroll("people", "Robert", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
    clock.now += 9
    deadline = time.monotonic() + 30
    while b"Robert" in everything(folder) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert b"Robert" not in everything(folder)


def test_wiping_that_fails_is_told_once_and_tried_until_it_is_done(
    folder: Path,
    clock: Hands,
    new_face: Faces,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, seconds in (("GATHER_S", 0), ("AGAIN_S", 0.02), ("_LOOK_S", 0.01)):
        monkeypatch.setattr(sweeper, name, seconds)
    with LocalGallery(folder, erase_timeout_s=0) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        gallery.enroll("people", "Robert", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
        with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM faces").fetchone()
            clock.now += 9
            assert gallery.collection("people").identities == 0
            deadline = time.monotonic() + 30
            while "could not be erased yet" not in caplog.text and time.monotonic() < deadline:
                threading.Event().wait(0.02)
            threading.Event().wait(0.2)  # it is tried again, and not told again
            assert caplog.text.count("could not be erased yet") == 1
            assert b"Robert" in everything(folder)
        while b"Robert" in everything(folder) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert b"Robert" not in everything(folder)


def test_wiping_that_failed_is_tried_again_without_gathering_anew(
    folder: Path, clock: Hands, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("GATHER_S", 0), ("AGAIN_S", 0.02), ("_LOOK_S", 0.01)):
        monkeypatch.setattr(sweeper, name, seconds)
    fulfil, tries = erase.fulfil, list[None]()

    def hindered(*given: Any) -> None:
        tries.append(None)
        monkeypatch.setattr(sweeper, "GATHER_S", 3600)
        if len(tries) < 3:
            raise EraseIncompleteError("somebody kept the database in use")
        fulfil(*given)

    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        gallery.enroll("people", "Robert", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
        monkeypatch.setattr(erase, "fulfil", hindered)
        clock.now += 9
        deadline = time.monotonic() + 10
        while b"Robert" in everything(folder) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert b"Robert" not in everything(folder)


def test_whoever_hears_of_an_end_finds_it_in_the_database(
    gallery: LocalGallery, folder: Path, enroll: Callable[..., Enrolment]
) -> None:
    seen = list[list[float]]()

    def look(moment: float) -> None:
        with closing(sqlite3.connect(folder / "gallery.db")) as other:
            seen.append([end for (end,) in other.execute("SELECT expires_at FROM identities")])

    gallery._store.on_expiry = look
    enroll("bob", 1, expires_at=START + 9)
    assert seen == [[START + 9]]


def test_searches_that_come_together_wait_together_for_the_expired(
    folder: Path, clock: Hands, new_face: Faces, vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalGallery(folder, busy_timeout_s=0.3) as gallery, ThreadPoolExecutor(16) as pool:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        gallery.enroll("people", "bob", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
        begin, waits = gallery._store._begin, list[None]()

        def counted(connection: sqlite3.Connection) -> None:
            waits.append(None)
            begin(connection)

        monkeypatch.setattr(gallery._store, "_begin", counted)
        with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            clock.now += 9
            asked = [
                pool.submit(gallery.search, "people", vector(1)[None], embedder=EMBEDDER, top_k=1, threshold=-1)
                for _ in range(16)
            ]
            assert {type(each.exception(30)) for each in asked} == {GalleryBusyError}
        assert len(waits) < 16
        assert gallery.search("people", vector(1)[None], embedder=EMBEDDER, top_k=1, threshold=-1) == [[]]


def test_who_expired_while_nobody_had_the_gallery_open_is_erased_when_it_is_opened(
    folder: Path, clock: Hands, new_face: Faces
) -> None:
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        gallery.enroll("people", "Robert", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
    clock.now += 9
    assert b"Robert" in everything(folder)
    with LocalGallery(folder):
        assert b"Robert" not in everything(folder)


def test_an_answer_that_cannot_leave_out_the_expired_is_none(
    folder: Path, clock: Hands, new_face: Faces, vector: Vector
) -> None:
    with LocalGallery(folder, busy_timeout_s=0.1) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        gallery.enroll("people", "bob", [new_face(1)], embedder=EMBEDDER, expires_at=START + 9)
        with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            assert gallery.identity("people", "bob").name == "bob"
            clock.now += 9
            for ask in (
                lambda: gallery.identity("people", "bob"),
                lambda: gallery.search("people", vector(1)[None], embedder=EMBEDDER, top_k=1, threshold=-1),
                lambda: gallery.collection("people"),
            ):
                with pytest.raises(GalleryBusyError):
                    ask()
            blocker.execute("ROLLBACK")
        assert gallery.collection("people").identities == 0


def test_many_at_once_are_removed_a_part_a_call_and_none_is_answered(
    folder: Path, clock: Hands, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(sweeper, "GATHER_S", 3600)
    with LocalGallery(folder, busy_timeout_s=0) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        for number in range(20):  # more than their tags are searched for: the file is written anew
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER, expires_at=START + 9)
        gallery.enroll("people", "carol", [new_face(50)], embedder=EMBEDDER)
        clock.now += 9
        for _ in range(7):
            with pytest.raises(GalleryBusyError, match="expired at once"):
                gallery.collection("people")
        assert gallery.collection("people").identities == 1
        erase.fulfil(gallery._store, 5)
        assert b"person" not in everything(folder)


def test_a_clock_that_jumps_ahead_erases_nobody_while_the_service_runs(
    gallery: LocalGallery, folder: Path, clock: Hands, enroll: Callable[..., Enrolment]
) -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("there is no clock to hold the wall clock against")
    enroll("bob", 1, expires_at=START + 3600)
    enroll("carol", 2)
    clock.now += 30 * 86_400
    with pytest.raises(StorageError, match=r"jumped ahead by 720 hours.*restart"):
        gallery.identity("people", "carol")
    clock.now -= 30 * 86_400
    assert gallery.identity("people", "bob").expires_at == START + 3600
    clock.now += 86_000
    assert gallery.collection("people").identities == 1  # less than a day is believed
    enroll("bob", 1, expires_at=clock.now + 3600)
    clock.now += 30 * 86_400
    with LocalGallery(folder) as restarted:  # believes the clock that it finds
        assert restarted.collection("people").identities == 1
    assert gallery.collection("people").identities == 1  # nobody expires any more: the clock does not matter


def test_who_is_gone_stays_gone_when_the_clock_goes_back(
    gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment]
) -> None:
    enroll("bob", 1, expires_at=START + 9)
    clock.now += 9
    assert gallery.collection("people").identities == 0
    clock.now -= 9
    assert gallery.collection("people").identities == 0
