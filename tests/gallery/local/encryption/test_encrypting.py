"""A gallery that is there, encrypted, decrypted, given another key: at once for all, and without a trace."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gallery.local import erase
from gallery.local.encryption import data_key, encrypting
from gallery.local.gallery import LocalGallery
from gallery.types import KeyRefusedError, StorageError
from tests.gallery.local.crops import OLD, face, target
from tests.gallery.local.encryption.sealing import (
    FACES,
    GATHERED,
    KEY,
    MEANS,
    OTHER_KEY,
    CrashError,
    files,
    gathered,
    look,
    readable,
)

encrypt = partial(encrypting.encrypt, erase_timeout_s=1)


@pytest.fixture
def folder(plain: Path) -> Path:
    return plain


def test_nothing_readable_is_left_and_nobody_is_lost(folder: Path) -> None:
    assert len(readable(folder, FACES)) > 3 * len(FACES)
    assert readable(folder, gathered())
    assert [name for name in files(folder) if name.endswith(".rows")]
    told = list[tuple[int, int]]()
    rows = encrypt(folder, KEY, on_progress=lambda done, of: told.append((done, of)))
    assert rows == 3 * len(FACES) + 2 * len(FACES) + GATHERED  # with templates, crops, what was gathered
    assert told[-1] == (rows, rows)
    assert readable(folder, [*FACES, *gathered()]) == []
    assert not [name for name in files(folder) if name.endswith((".rows", ".part"))]
    look(folder, KEY)
    assert encrypt(folder, KEY) == 0
    with LocalGallery(folder, key=KEY) as gallery:  # the re-embedding goes on from where it was
        told.clear()
        again = replace(target(), on_progress=lambda done, of: told.append((done, of)))
        gallery.reembed("people", again, made_by=OLD)
        assert told[0] == (GATHERED, len(FACES))
        assert gallery.check() == []


def test_there_and_back(folder: Path) -> None:
    before = [*exported(folder, None)]
    encrypt(folder, KEY)
    assert exported(folder, KEY) == before
    assert encrypting.decrypt(folder, KEY) == 5 * len(FACES) + GATHERED
    assert exported(folder, None) == before
    look(folder, None)
    assert encrypting.decrypt(folder, KEY) == 0
    encrypt(folder, OTHER_KEY)
    look(folder, OTHER_KEY)


def exported(folder: Path, key: bytes | None) -> list[Any]:
    with LocalGallery(folder, key=key) as gallery:
        return [*gallery.export("people"), *gallery.export(MEANS)]


def wrapped(folder: Path) -> bytes:
    with closing(sqlite3.connect(folder / "gallery.db")) as connection:
        return bytes(connection.execute("SELECT wrapped FROM vault").fetchone()[0])


def rows_of(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "gallery.db")) as connection:
        return connection.execute("SELECT id, embedding FROM faces ORDER BY key").fetchall()


def test_another_key_costs_no_row_and_leaves_nothing_for_the_old_one(folder: Path) -> None:
    encrypt(folder, KEY)
    before, old = rows_of(folder), wrapped(folder)
    with LocalGallery(folder, key=KEY) as service:  # goes on
        assert encrypting.rekey(folder, KEY, OTHER_KEY) == 0
        service.enroll("people", "late", [face(99)], embedder=OLD)
        service.delete_identity("people", "late")
    assert rows_of(folder) == before
    assert not [name for name, data in files(folder).items() if old in data]
    with pytest.raises(KeyRefusedError, match="not with this key"):
        LocalGallery(folder, key=KEY)
    look(folder, OTHER_KEY)
    assert encrypting.rekey(folder, KEY, OTHER_KEY) == 0  # again
    assert wrapped(folder) != old


def test_a_service_with_both_keys_starts_before_and_after_the_change(folder: Path) -> None:
    """So that a worker that is replaced amid it is no end of the service."""
    encrypt(folder, KEY)
    for _ in range(2):
        with LocalGallery(folder, key=OTHER_KEY, old_key=KEY) as service:
            assert service.check() == []
        encrypting.rekey(folder, KEY, OTHER_KEY)
    with pytest.raises(KeyRefusedError, match="neither with this key nor with the one before it"):
        LocalGallery(folder, key=KEY, old_key=KEY)


def test_an_old_key_alone_encrypts_nothing(tmp_path: Path) -> None:
    with LocalGallery(tmp_path, key=OTHER_KEY, old_key=KEY):
        pass
    with pytest.raises(KeyRefusedError):
        LocalGallery(tmp_path, key=KEY)
    LocalGallery(tmp_path, key=OTHER_KEY).close()


def test_of_two_who_give_it_another_key_the_second_is_refused(folder: Path) -> None:
    encrypt(folder, KEY)
    with closing(encrypting._store(folder, KEY)) as store:  # and here somebody is faster
        encrypting.rekey(folder, KEY, OTHER_KEY)
        with pytest.raises(KeyRefusedError, match="another key meanwhile"), store.write() as connection:
            data_key.rewrap(connection, KEY, bytes(range(64, 96)))
    look(folder, OTHER_KEY)


def test_another_data_key_writes_every_row(folder: Path) -> None:
    encrypt(folder, KEY)
    before = {blob for _, blob in rows_of(folder)}
    with LocalGallery(folder, key=KEY) as service:
        assert encrypting.rekey(folder, KEY, OTHER_KEY, rows=True) == 5 * len(FACES) + GATHERED
        with pytest.raises(KeyRefusedError, match="restart"):
            service.enroll("people", "late", [face(99)], embedder=OLD)
    assert before.isdisjoint({blob for _, blob in rows_of(folder)})
    data = b"".join(files(folder).values())
    assert not [blob for blob in before if blob in data]
    look(folder, OTHER_KEY)


@pytest.mark.parametrize("do", [encrypting.decrypt, encrypt, lambda folder, key: encrypting.rekey(folder, key, key)])
def test_a_wrong_key_changes_nothing(folder: Path, do: Callable[[Path, bytes], int]) -> None:
    encrypt(folder, KEY)
    before = rows_of(folder)
    with pytest.raises(KeyRefusedError, match="not with this key"):
        do(folder, OTHER_KEY)
    assert rows_of(folder) == before
    look(folder, KEY)


def test_a_plain_gallery_cannot_be_rekeyed(folder: Path) -> None:
    with pytest.raises(KeyRefusedError, match="run `faceserve gallery encrypt`"):
        encrypting.rekey(folder, KEY, OTHER_KEY)


def test_a_damaged_row_stops_it_and_changes_nothing(folder: Path) -> None:
    encrypt(folder, KEY)
    with closing(sqlite3.connect(folder / "gallery.db")) as connection, connection:
        connection.execute("UPDATE crops SET png = zeroblob(60) WHERE face = 7")
    before = rows_of(folder)
    with pytest.raises(StorageError, match="crop of face"):
        encrypting.decrypt(folder, KEY)
    assert rows_of(folder) == before
    assert readable(folder, FACES) == []


def test_a_crash_on_the_way_leaves_all_as_it_was(folder: Path) -> None:
    def crash(done: int, of: int) -> None:
        if done > of // 2:
            raise CrashError

    with pytest.raises(CrashError):
        encrypt(folder, KEY, on_progress=crash)
    look(folder, None)
    assert encrypt(folder, KEY) == 5 * len(FACES) + GATHERED
    assert readable(folder, [*FACES, *gathered()]) == []


@pytest.mark.parametrize("again", [lambda folder: LocalGallery(folder, key=KEY).close(), lambda f: encrypt(f, KEY)])
def test_what_a_crash_left_readable_goes_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, again: Callable[[Path], object]
) -> None:
    def crash(*_: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(erase, "_wipe", crash)
        with pytest.raises(CrashError):
            encrypt(folder, KEY)
    assert [name for name in files(folder) if name.endswith(".rows")]
    again(folder)
    assert readable(folder, [*FACES, *gathered()]) == []
    assert not [name for name in files(folder) if name.endswith(".rows")]
