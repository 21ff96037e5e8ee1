"""Several processes, one gallery: they agree at once, and one that is killed loses nothing it acknowledged."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import NewFace

if TYPE_CHECKING:
    from tests.gallery.local.conftest import Worker

EMBEDDER = "digest-of-the-embedder"
ROUNDS = int(os.environ.get("FACESERVE_TEST_ROUNDS", "50"))
CRASHES = max(1, ROUNDS // 16)
Vector = Callable[[int], NDArray[np.float32]]


@pytest.fixture
def pair(folder: Path, worker: Callable[..., Worker]) -> list[Worker]:
    workers = [worker(str(folder), "serve") for _ in range(2)]
    assert [json.loads(each.line()) for each in workers] == ["ready", "ready"]
    return workers


def test_what_one_process_did_the_other_answers_next(pair: list[Worker]) -> None:
    for number in range(ROUNDS):
        one, other = pair[number % 2], pair[1 - number % 2]
        name, new_name = f"person {number}", f"renamed {number}"
        one.ask(do="enroll", identity=name, number=number)
        assert other.ask(do="search", number=number) == [name]
        one.ask(do="rename", identity=name, to=new_name)
        assert other.ask(do="search", number=number) == [new_name]
        if number % 2:
            one.ask(do="delete", identity=new_name)
            assert other.ask(do="search", number=number) == []
    assert [each.ask(do="check") for each in pair] == [[], []]


def test_from_one_moment_on_no_process_finds_who_expired(pair: list[Worker]) -> None:
    moment = time.time() + 1.5
    pair[0].ask(do="enroll", identity="guest", number=1, expires_at=moment)
    asked = 0
    while asked < 2:
        for each in pair:
            began, found, ended = each.ask(do="search at", number=1)
            if ended < moment:
                assert found == ["guest"]
            elif began >= moment:
                assert found == []
                asked += 1
    assert [each.ask(do="check") for each in pair] == [[], []]


def test_a_new_identity_enrolled_by_two_processes_at_once_is_created_once(pair: list[Worker]) -> None:
    with ThreadPoolExecutor(2) as threads:
        for number in range(20):
            requests = [{"identity": f"p {number}", "number": 2 * number + which} for which in range(2)]
            answers = list(threads.map(lambda each, request: each.ask(do="enroll", **request), pair, requests))
            assert sorted(answer["created"] for answer in answers) == [False, True]
            assert pair[0].ask(do="search", number=2 * number + 1) == [f"p {number}"]


def test_processes_that_start_together_make_one_database(folder: Path, worker: Callable[..., Worker]) -> None:
    workers = [worker(str(folder), "serve") for _ in range(4)]
    assert [json.loads(each.line()) for each in workers] == ["ready"] * 4


def test_closing_one_gallery_keeps_the_locks_of_another_in_the_same_process(
    gallery: LocalGallery, folder: Path
) -> None:
    LocalGallery(folder).close()
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM faces'); c.close()"
    subprocess.run([sys.executable, "-c", program, str(folder / "gallery.db")], check=True)
    # The last to close a database deletes its log: another process would, if it saw no lock of ours.
    assert (folder / "gallery.db-wal").exists()


def misdeeds(folder: Path, acknowledged: dict[int, str], vector: Vector) -> list[str]:
    """What is lost, mislabelled or out of step in a gallery reopened after a crash."""
    found: list[str] = []
    with LocalGallery(folder) as gallery:
        found += gallery.check()
        stored: dict[str, set[str]] = {}
        person = ""
        for record in gallery.export("people"):
            if record["type"] == "identity":
                person = record["identity"]
            elif record["type"] == "face":
                stored.setdefault(person, set()).add(record["face_id"])
        embeddings = np.stack([vector(int(person.split()[1])) for person in stored])
        answers = gallery.search("people", embeddings, embedder=EMBEDDER, top_k=1, threshold=0.999)
        for person, answer in zip(stored, answers, strict=True):
            if [match.identity for match in answer] != [person]:
                found.append(f"mislabelled: {person}")
        for number, face_id in acknowledged.items():
            if face_id not in stored.get(f"person {number}", ()):
                found.append(f"lost: person {number}")
    return found


def crash(worker: Callable[..., Worker], folder: Path, first: int, acknowledgements: int, build: str) -> dict[int, str]:
    """Kills a process that enrols 500 once it has acknowledged so many; number -> face id of all it acknowledged."""
    process = worker(str(folder), "enroll", str(first), "500", build)
    lines = [process.line() for _ in range(acknowledgements)]
    process.process.kill()
    while line := process.line():  # what it had said before it died counts
        lines.append(line)
    assert process.process.wait() == -9, "it should have been killed in the middle of its work"
    return {int(number): face_id for number, face_id in (line.split() for line in lines)}


def test_killed_in_the_middle_nothing_acknowledged_is_lost_and_nobody_mislabelled(
    folder: Path, worker: Callable[..., Worker], vector: Vector
) -> None:
    chance, acknowledged = random.Random(5), dict[int, str]()
    for crash_number in range(CRASHES):
        acknowledgements = chance.randint(1, 200)
        acknowledged |= crash(worker, folder, crash_number * 500, acknowledgements, "honest")
        assert misdeeds(folder, acknowledged, vector) == []
    assert len(acknowledged) >= CRASHES


@pytest.mark.parametrize(("build", "finding"), [("early", "lost"), ("swapping", "mislabelled")])
def test_the_checker_convicts_a_broken_build(
    folder: Path, worker: Callable[..., Worker], vector: Vector, build: str, finding: str
) -> None:
    acknowledged = crash(worker, folder, 0, 105, build)
    assert [each for each in misdeeds(folder, acknowledged, vector) if each.startswith(finding)]


def test_the_checker_convicts_a_lost_face(
    folder: Path, worker: Callable[..., Worker], vector: Vector, new_face: Callable[[int], NewFace]
) -> None:
    acknowledged = crash(worker, folder, 0, 20, "honest")
    with closing(sqlite3.connect(folder / "gallery.db")) as connection, connection:
        connection.execute("DELETE FROM faces WHERE key = 7")
    assert misdeeds(folder, acknowledged, vector) == ["lost: person 6"]
