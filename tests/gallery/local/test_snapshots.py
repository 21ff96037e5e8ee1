"""Snapshots: what is opened from one answers like what is read from the database, and who is erased leaves it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local import snapshot_file, snapshots, wiping
from gallery.local.gallery import LocalGallery
from gallery.local.index import flat as index_module
from gallery.local.index import quarters
from gallery.local.index.kinds import kept
from gallery.types import NewFace
from tests.gallery.local.conftest import DIMENSION, EMBEDDER

Faces = Callable[[int], NewFace]
Names = Callable[..., list[str]]
Vector = Callable[[int], NDArray[np.float32]]
PEOPLE = 20


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few rows, in blocks of a few more; about half of the rows are kept as bytes, half as halves."""
    monkeypatch.setattr(index_module, "SEGMENT_ROWS", 6)
    monkeypatch.setattr(snapshot_file, "BLOCK_ROWS", 8)
    monkeypatch.setattr(quarters, "_REACH", 2.0)


@pytest.fixture
def peopled(gallery: LocalGallery, new_face: Faces) -> LocalGallery:
    """`person N` with face N, written into a snapshot; nobody has searched yet."""
    for number in range(PEOPLE):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    assert snapshots.write(gallery._store, "people")
    return gallery


@pytest.fixture
def again(peopled: LocalGallery, folder: Path) -> Iterator[LocalGallery]:
    """Another process's gallery, as it were."""
    with LocalGallery(folder) as opened:
        yield opened


def came_from(gallery: LocalGallery) -> int | None:
    """At which change the snapshot stood that the index was opened from."""
    with gallery._projections.current("people"):
        return gallery._projections._of["people"].snapshot_at


def path(gallery: LocalGallery) -> Path:
    (found,) = wiping.folder_of(gallery._store).glob("*.rows")
    return found


def kept_bytes(embedding: NDArray[np.float32]) -> bytes:
    return kept(embedding).tobytes()


def holding(folder: Path, needle: bytes) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and needle in file.read_bytes()]


def test_an_index_from_a_snapshot_is_like_one_from_the_database(
    peopled: LocalGallery, again: LocalGallery, new_face: Faces, vector: Vector, names: Names
) -> None:
    peopled.enroll("people", "late", [new_face(100)], embedder=EMBEDDER)
    peopled.delete_identity("people", "person 3")
    assert came_from(again) == PEOPLE
    assert again.check() == []
    assert names(again, vector(100)) == ["late"]
    assert names(again, vector(3)) == []
    for number in range(PEOPLE):
        assert names(again, vector(number), top_k=5, threshold=-1) == names(
            peopled, vector(number), top_k=5, threshold=-1
        )
    again.enroll("people", "later", [new_face(101)], embedder=EMBEDDER)
    assert names(again, vector(101)) == ["later"]
    assert again.check() == []


def test_nobody_else_may_read_it(peopled: LocalGallery) -> None:
    assert path(peopled).stat().st_mode & 0o777 == 0o600
    assert path(peopled).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("erase", ["identity", "face", "collection"])
def test_who_is_erased_leaves_the_file_before_the_answer(
    peopled: LocalGallery, again: LocalGallery, folder: Path, vector: Vector, names: Names, erase: str
) -> None:
    assert names(again, vector(7)) == ["person 7"]
    needle = kept_bytes(vector(7))
    assert holding(folder, needle) == [path(peopled).name]
    if erase == "identity":
        peopled.delete_identity("people", "person 7")
    elif erase == "face":
        peopled.delete_face("people", "person 7", peopled.identity("people", "person 7").faces[0].face_id)
    else:
        peopled.delete_collection("people")
    assert holding(folder, needle) == []
    if erase == "collection":
        assert not list(wiping.folder_of(peopled._store).glob("*.rows"))
        return
    assert names(again, vector(7)) == []
    assert again.check() == []
    with LocalGallery(folder) as third:
        assert came_from(third) == PEOPLE
        assert third.check() == []
        assert names(third, vector(8)) == ["person 8"]


def test_a_wiping_that_does_nothing_is_noticed(
    peopled: LocalGallery, folder: Path, vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiping, "wipe_file", lambda *_: None)
    peopled.delete_identity("people", "person 7")
    assert holding(folder, kept_bytes(vector(7))) == [path(peopled).name]


def test_an_erase_that_died_is_finished_at_the_next_start(
    peopled: LocalGallery, folder: Path, vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Death(BaseException): ...

    def die(*_: object) -> None:
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(snapshot_file, "_write_header", die)
        with pytest.raises(Death):
            peopled.delete_identity("people", "person 7")
    with LocalGallery(folder) as third:
        assert holding(folder, kept_bytes(vector(7))) == []
        assert third.check() == []


def test_an_erase_takes_away_what_is_half_written(
    peopled: LocalGallery, folder: Path, vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = snapshot_file.finish
    held = kept_bytes(vector(7))

    def erase_first(handle: int, stamp: snapshot_file.Stamp) -> None:
        assert len(holding(folder, held)) == 2
        peopled.delete_identity("people", "person 7")
        assert holding(folder, held) == []
        finish(handle, stamp)

    monkeypatch.setattr(snapshot_file, "finish", erase_first)
    with pytest.raises(snapshots.GivenUpError):
        snapshots.write(peopled._store, "people")
    assert holding(folder, held) == []
    assert not list(path(peopled).parent.glob("*.part"))
    monkeypatch.undo()
    assert snapshots.write(peopled._store, "people")


def test_who_is_removed_while_it_is_written_is_not_in_it(
    peopled: LocalGallery, folder: Path, vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal whose erase has not come to the files yet."""
    finish = snapshot_file.finish

    def remove_first(handle: int, stamp: snapshot_file.Stamp) -> None:
        finish(handle, stamp)
        with peopled._store.write() as connection:
            connection.execute("DELETE FROM identities WHERE name = 'person 7'")

    monkeypatch.setattr(snapshot_file, "finish", remove_first)
    assert snapshots.write(peopled._store, "people")
    assert kept_bytes(vector(7)) not in path(peopled).read_bytes()
    assert kept_bytes(vector(8)) in path(peopled).read_bytes()
    with LocalGallery(folder) as third:
        assert came_from(third) == PEOPLE
        assert third.check() == []


def flip(file: Path, at: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(at)
        (byte,) = handle.read(1)
        handle.seek(at)
        handle.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("at", [3, 40, 65536, 65536 + 4096, 65536 + 2 * 4096 + 5, -1])
def test_one_wrong_bit_and_it_is_not_used(peopled: LocalGallery, again: LocalGallery, at: int, names: Names) -> None:
    file = path(peopled)
    flip(file, at % file.stat().st_size)
    assert came_from(again) is None
    assert again.check() == []


@pytest.mark.parametrize("size", [0, 10, 4096, 9000])
def test_nor_when_it_is_cut_short(peopled: LocalGallery, again: LocalGallery, size: int) -> None:
    with path(peopled).open("r+b") as file:
        file.truncate(size)
    assert came_from(again) is None
    assert again.check() == []


def test_nor_when_the_database_is_an_older_one(
    peopled: LocalGallery, folder: Path, tmp_path: Path, new_face: Faces, vector: Vector, names: Names
) -> None:
    """Brought back from a backup, and used since: its keys and changes are other people's."""
    with sqlite3.connect(tmp_path / "backup.db") as backup:
        peopled._store._writer.backup(backup)
    backup.close()
    peopled.enroll("people", "forgotten", [new_face(50)], embedder=EMBEDDER)
    snapshots.write(peopled._store, "people")
    peopled.close()
    for left in folder.glob("gallery.db*"):
        left.unlink()
    shutil.move(tmp_path / "backup.db", folder / "gallery.db")
    with LocalGallery(folder) as restored:
        restored.enroll("people", "another", [new_face(60)], embedder=EMBEDDER)
        restored.enroll("people", "one more", [new_face(61)], embedder=EMBEDDER)
        assert came_from(restored) is None
        assert names(restored, vector(50)) == []
        assert names(restored, vector(60)) == ["another"]
        assert restored.check() == []


def test_nor_when_a_wiped_row_is_somebody_s_in_the_database(
    peopled: LocalGallery, folder: Path, tmp_path: Path, vector: Vector, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "backup.db") as backup:
        peopled._store._writer.backup(backup)
    backup.close()
    peopled.delete_identity("people", "person 7")
    peopled.close()
    for left in folder.glob("gallery.db*"):
        left.unlink()
    shutil.move(tmp_path / "backup.db", folder / "gallery.db")
    with LocalGallery(folder) as restored:
        restored.delete_identity("people", "person 9")  # as many changes as the snapshot has heard of
        with caplog.at_level(logging.WARNING, "faceserve"):
            assert names(restored, vector(7)) == ["person 7"]
        assert "not used" in caplog.text
        assert restored.check() == []


def test_nor_when_the_log_does_not_reach_back_to_it(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder, keep_changes=5) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        for number in range(PEOPLE):
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
        snapshots.write(gallery._store, "people")
        for number in range(30, 40):
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
        with LocalGallery(folder) as again:
            assert came_from(again) is None
            assert again.check() == []
        gallery.delete_identity("people", "person 3")
        assert not list(wiping.folder_of(gallery._store).glob("*.rows"))


def test_two_do_not_write_it_at_once(peopled: LocalGallery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, seen = snapshot_file.finish, list[bool]()

    def write_too(handle: int, stamp: snapshot_file.Stamp) -> None:
        seen.append(snapshots.write(peopled._store, "people"))
        finish(handle, stamp)

    monkeypatch.setattr(snapshot_file, "finish", write_too)
    assert snapshots.write(peopled._store, "people")
    assert seen == [False]


def test_what_a_dead_writer_left_is_cleared_away(peopled: LocalGallery) -> None:
    part = path(peopled).with_suffix(".part")
    part.write_bytes(b"half")
    assert snapshots.write(peopled._store, "people")
    assert not part.exists()
