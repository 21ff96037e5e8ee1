"""A gallery encrypted while others read it, write to it, or encrypt it too."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gallery.local import snapshots
from gallery.local.encryption import encrypting
from gallery.local.gallery import LocalGallery
from gallery.types import EraseIncompleteError, GalleryBusyError, KeyRefusedError
from tests.gallery.local.crops import OLD, face, vector
from tests.gallery.local.encryption.sealing import FACES, GATHERED, KEY, look, readable

ROOT = Path(__file__).resolve().parents[4]
encrypt = partial(encrypting.encrypt, erase_timeout_s=1)


@pytest.fixture
def folder(plain: Path) -> Path:
    return plain


def test_a_reader_who_stays_is_told_of_and_repeating_finishes(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "gallery.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM faces").fetchone()
        with pytest.raises(EraseIncompleteError, match=r"restart the services .* run this again"):
            encrypting.encrypt(folder, KEY, erase_timeout_s=0.1)
        assert readable(folder, FACES)
    assert encrypt(folder, KEY) == 0
    assert readable(folder, FACES) == []


OTHER_PROCESS = """
import sys
from pathlib import Path
from gallery.local.gallery import LocalGallery
from tests.gallery.local.crops import OLD, face
with LocalGallery(Path(sys.argv[1])) as gallery:
    for number in (98, 99):
        try:
            print(gallery.enroll("people", f"late {number}", [face(number)], embedder=OLD).created, flush=True)
        except Exception as error:
            print(type(error).__name__, error, flush=True)
        sys.stdin.readline()
"""


def test_a_service_that_has_it_open_stops_answering_and_writes_nothing(folder: Path) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        ) as other,
        LocalGallery(folder) as service,
    ):
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        query = vector(3, OLD)[np.newaxis]
        assert service.search("people", query, embedder=OLD, top_k=1, threshold=0.9)[0]
        encrypt(folder, KEY)
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().startswith("KeyRefusedError the gallery in ")
        refused_by_all(service, query)
        other.stdin.close()
    assert readable(folder, [*FACES, face(98), face(99)]) == []
    look(folder, KEY)


def refused_by_all(service: LocalGallery, query: Any) -> None:
    for ask in (
        lambda: service.search("people", query, embedder=OLD, top_k=1, threshold=0.9),
        lambda: service.enroll("people", "late", [face(99)], embedder=OLD),
        lambda: [*service.export("people")],
        service.ready,
        lambda: snapshots.write(service._store, "people"),
    ):
        with pytest.raises(KeyRefusedError, match="restart the service"):
            ask()


def test_who_enrols_meanwhile_is_encrypted_or_refused(folder: Path) -> None:
    acknowledged, errors, begun = list[int](), list[Exception](), threading.Event()

    def enrol() -> None:
        with LocalGallery(folder) as gallery:
            for number in range(100, 2000):
                try:
                    gallery.enroll("people", f"late {number}", [face(number)], embedder=OLD)
                except GalleryBusyError:
                    continue
                except KeyRefusedError as error:
                    errors.append(error)
                    return
                acknowledged.append(number)
                begun.set()

    thread = threading.Thread(target=enrol)
    thread.start()
    assert begun.wait(10)
    encrypting.encrypt(folder, KEY)
    thread.join(30)
    assert not thread.is_alive()
    assert len(errors) == 1
    late = [face(number) for number in acknowledged]
    assert readable(folder, [*FACES, *late]) == []
    with LocalGallery(folder, key=KEY) as gallery:
        queries = np.stack([new.embedding for new in late])
        found = gallery.search("people", queries, embedder=OLD, top_k=1, threshold=0.999)
        assert [match.identity for [match] in found] == [f"late {number}" for number in acknowledged]


def test_two_at_once_are_one(folder: Path) -> None:
    done, threads = list[int](), list[threading.Thread]()
    for _ in range(2):
        threads.append(threading.Thread(target=lambda: done.append(encrypting.encrypt(folder, KEY))))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [0, 5 * len(FACES) + GATHERED]
    look(folder, KEY)
