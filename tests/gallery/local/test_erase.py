"""An erase erases: the files themselves are searched for what was in them."""

from __future__ import annotations

import random
import sqlite3
import string
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from gallery.local import store
from gallery.local.gallery import LocalGallery
from gallery.local.store import Store
from gallery.types import (
    EraseIncompleteError,
    FaceNotFoundError,
    Idempotency,
    IdentityNotFoundError,
    NewFace,
)

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


def everything(folder: Path) -> bytes:
    """All files of the gallery, but for the -shm file, which holds page numbers only."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("-shm"))


@contextmanager
def reader(folder: Path) -> Iterator[None]:
    """Somebody who has begun to read and does not end."""
    with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM faces").fetchone()
        yield


def enroll_alice(gallery: LocalGallery, new_face: Faces) -> dict[str, bytes]:
    """Enrols an identity with all that can be kept about it; what is searched for in the files."""
    crop = random.Random(0).randbytes(30_000)
    face = NewFace(new_face(1).embedding, "a1" * 32, {"score": 0.123456789}, crop_png=crop)
    once = Idempotency("key", "body", lambda enrolment: f"answer for {enrolment.identity}".encode())
    metadata = {"mail": "alice@example.org"}
    gallery.enroll_once(
        "people", "Alice Liddell", [face, new_face(2)], embedder=EMBEDDER, idempotency=once, metadata=metadata
    )
    return {
        "name": b"Alice Liddell",
        "metadata": b"alice@example.org",
        "answer": b"answer for",
        "quality": b"0.123456789",
        "picture's digest": bytes.fromhex("a1" * 32),
        "first embedding": face.embedding.tobytes(),
        "half an embedding": new_face(2).embedding.tobytes()[32:],
        "crop": crop[:64],
        "crop's end": crop[-64:],
    }


def test_an_erased_identity_is_in_no_file(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    secrets = enroll_alice(gallery, new_face)
    for number in range(10, 40):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    before = everything(folder)
    assert [what for what, secret in secrets.items() if secret not in before] == []
    gallery.delete_identity("people", "Alice Liddell")
    after = everything(folder)
    assert [what for what, secret in secrets.items() if secret in after] == []
    assert new_face(39).embedding.tobytes() in after


def test_an_erased_face_is_in_no_file(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    secrets = enroll_alice(gallery, new_face)
    first, _ = gallery.identity("people", "Alice Liddell").faces
    assert bytes.fromhex(first.face_id) in everything(folder)
    gallery.delete_face("people", "Alice Liddell", first.face_id)
    after = everything(folder)
    left = {what for what, secret in secrets.items() if secret in after}
    assert left == {"name", "metadata", "half an embedding", "answer"}
    assert bytes.fromhex(first.face_id) not in after


def test_an_erased_collection_is_in_no_file(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    gallery.create_collection("others", EMBEDDER, 16)
    gallery.enroll("others", "bob", [new_face(50)], embedder=EMBEDDER)
    secrets = enroll_alice(gallery, new_face)
    for number in range(10, 40):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    gallery.delete_collection("people")
    after = everything(folder)
    assert [what for what, secret in secrets.items() if secret in after] == []
    assert b"person " not in after
    assert new_face(50).embedding.tobytes() in after


def test_earlier_names_and_metadata_go_too(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    enroll_alice(gallery, new_face)
    gallery.update_identity("people", "Alice Liddell", new_name="Mrs Hargreaves", metadata={"mail": "mrs@example.org"})
    gallery.delete_identity("people", "Mrs Hargreaves")
    after = everything(folder)
    assert [text for text in (b"Alice", b"Hargreaves", b"example.org", b"answer for") if text in after] == []


@pytest.fixture
def unsynced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGallery]:
    """An open gallery that never waits for the disk: what stands in its files is the same, and many fit in a test."""
    monkeypatch.setattr(store, "_PRAGMAS", tuple(each.replace("= FULL", "= OFF") for each in store._PRAGMAS))
    with LocalGallery(folder) as opened:
        opened.create_collection("people", EMBEDDER, 16)
        yield opened


def lives(gallery: LocalGallery, folder: Path) -> Iterator[str]:
    """Many come, change and go; the names and metadata of those who went that are still in a file."""
    chance, living = random.Random(4), list[str]()

    def word() -> str:
        return "".join(chance.choices(string.ascii_letters, k=chance.randint(12, 60)))

    for number in range(700):
        who = word()
        embedding = np.zeros(16, np.float32)
        embedding[number % 16] = 1
        face = NewFace(embedding, f"{number:064x}")
        gallery.enroll("people", who, [face], embedder=EMBEDDER, metadata={"note": word()})
        living.append(who)
        if number % 3:
            gallery.update_identity("people", chance.choice(living), metadata={"note": word() * chance.randint(1, 12)})
        if len(living) > 150:
            gone = living.pop(chance.randrange(len(living)))
            note = str(gallery.identity("people", gone).metadata["note"])
            gallery.delete_identity("people", gone)
            files = everything(folder)
            yield from (text for text in (gone, note) if text.encode() in files)


def test_no_stale_copy_outlives_its_row(unsynced: LocalGallery, folder: Path) -> None:
    assert list(lives(unsynced, folder)) == []
    assert unsynced.check() == []


def test_without_the_search_stale_copies_would_outlive_their_rows(
    unsynced: LocalGallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "holds", lambda self, needles: False)
    if not any(lives(unsynced, folder)):
        pytest.skip(f"SQLite {sqlite3.sqlite_version} happened to leave no stale copy")


def test_a_reader_of_old_bytes_makes_an_erase_incomplete_until_it_ends(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder, erase_timeout_s=0.1) as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        secrets = enroll_alice(gallery, new_face)
        with reader(folder):
            with pytest.raises(EraseIncompleteError):
                gallery.delete_identity("people", "Alice Liddell")
            with pytest.raises(IdentityNotFoundError):
                gallery.identity("people", "Alice Liddell")
            with pytest.raises(EraseIncompleteError):  # asking again says the truth too
                gallery.delete_identity("people", "Alice Liddell")
            assert secrets["name"] in everything(folder)
        with pytest.raises(IdentityNotFoundError):
            gallery.delete_identity("people", "Alice Liddell")
        after = everything(folder)
        assert [what for what, secret in secrets.items() if secret in after] == []


def test_an_erase_waits_for_a_short_reader(
    gallery: LocalGallery, folder: Path, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = enroll_alice(gallery, new_face)
    truncate, tries = gallery._store.truncate_log, list[bool]()
    with ExitStack() as reading:
        reading.enter_context(reader(folder))

        def and_then_the_reader_ends() -> bool:
            tries.append(truncate())
            reading.close()
            return tries[-1]

        monkeypatch.setattr(gallery._store, "truncate_log", and_then_the_reader_ends)
        gallery.delete_identity("people", "Alice Liddell")
    assert tries == [False, True]
    assert secrets["name"] not in everything(folder)


def test_what_a_crash_left_is_erased_at_the_next_start(
    folder: Path, new_face: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(BaseException):
        pass

    def crash(*_: object) -> None:
        raise CrashError

    gallery = LocalGallery(folder)
    gallery.create_collection("people", EMBEDDER, 16)
    secrets = enroll_alice(gallery, new_face)
    with monkeypatch.context() as patch, reader(folder):
        patch.setattr("gallery.local.erase._wipe", crash)
        with pytest.raises(CrashError):
            gallery.delete_identity("people", "Alice Liddell")
        gallery.close()
        assert secrets["name"] in everything(folder)
        patch.undo()
        LocalGallery(folder).close()  # somebody reads still: it starts all the same
        assert secrets["name"] in everything(folder)
    with LocalGallery(folder):
        after = everything(folder)
    assert [what for what, secret in secrets.items() if secret in after] == []


def test_nothing_is_written_when_there_is_nothing_to_erase(
    gallery: LocalGallery, folder: Path, new_face: Faces
) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    before = everything(folder)
    with pytest.raises(IdentityNotFoundError):
        gallery.delete_identity("people", "bob")
    with pytest.raises(FaceNotFoundError):
        gallery.delete_face("people", "alice", "00" * 16)
    assert everything(folder) == before
