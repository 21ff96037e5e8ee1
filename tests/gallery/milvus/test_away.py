"""A Milvus that is killed, that hangs, that is not there: what is said, how soon, and that nothing answered is lost."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from gallery.milvus.address import Address, parse
from gallery.milvus.connection import AwayError
from gallery.milvus.gallery import MilvusGallery
from gallery.types import StorageError
from tests.gallery.contract.conftest import EMBEDDER, face, names, vector
from tests.gallery.milvus.conftest import Opened, Server, until
from tests.gallery.milvus.interleaving import faults

SECRET = "s3cr3t"


def test_killed_amid_enrolments_it_loses_nothing_that_was_answered(
    server: Server, gallery: MilvusGallery, opened: Opened, people: str
) -> None:
    handles = [gallery, opened(timeout_s=1)]
    answered: dict[int, str] = {}
    failures: list[StorageError] = []
    stop = threading.Event()

    def work(thread: int) -> None:
        number = 1000 * thread
        while not stop.is_set():
            number += 1
            try:
                handles[thread].enroll(people, f"p {number % 7}", [face(number, b"\x89PNG")], embedder=EMBEDDER)
            except StorageError as error:
                failures.append(error)
                continue
            answered[number] = f"p {number % 7}"

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2 if "FACESERVE_TEST_CRASHES" in os.environ else 1):
            some = len(answered) + 15
            until(lambda some=some: len(answered) >= some)
            seen = len(failures)
            server.kill()
            until(lambda seen=seen: len(failures) > seen)
            server.start()
        some = len(answered) + 15
        until(lambda: len(answered) >= some)
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    assert {type(error) for error in failures} <= {AwayError, StorageError} | set(AwayError.__subclasses__())
    queries = {number: names(gallery, people, vector(number)) for number in answered}
    assert queries == {number: [name] for number, name in answered.items()}
    # What was cut short may have left crops, which the same picture sent again takes up, or its person's erasure.
    assert [line for line in faults(gallery, people) if "there is a crop of" not in line] == []
    for name in set(answered.values()):
        gallery.delete_identity(people, name)
    assert (gallery.collection(people).faces, faults(gallery, people)) == (0, [])


def test_hanging_it_holds_nobody_for_long_and_is_used_again(
    server: Server, opened: Opened, gallery: MilvusGallery, people: str
) -> None:
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    impatient = opened(timeout_s=0.3)
    assert names(impatient, people, vector(1)) == ["alice"]
    began = time.monotonic()
    server.hold()
    try:
        with pytest.raises(AwayError, match="cannot be reached, or did not answer in time"):
            impatient.ready()
        with MilvusGallery(parse(server.url), timeout_s=0.3) as another, pytest.raises(AwayError):
            another.ready()
    finally:
        server.let_go()
    assert time.monotonic() - began < 30 * 0.3
    until(lambda: _is_ready(impatient))
    assert names(impatient, people, vector(1)) == ["alice"]


def _is_ready(gallery: MilvusGallery) -> bool:
    try:
        gallery.ready()
    except AwayError:
        return False
    return True


def test_nobody_there_is_said_at_once_and_without_the_password(
    started: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = Address("127.0.0.1", 1, user="me", password=SECRET)
    with MilvusGallery(address, timeout_s=1) as gallery:
        with pytest.raises(AwayError, match=r"Milvus at milvus://127\.0\.0\.1:1 cannot be reached") as refused:
            gallery.ready()
        assert SECRET not in f"{refused.value} {refused.value.__cause__} {caplog.text}"
        with pytest.raises(AwayError):
            gallery.collections()


def test_a_file_is_for_one_process(started: Server) -> None:
    folder = started._folder
    named = folder.with_suffix(".db")
    named.symlink_to(folder)
    with MilvusGallery(parse(f"milvus://{named}")) as gallery, pytest.raises(StorageError, match="FACESERVE_WORKERS=1"):
        gallery.ready()


@pytest.mark.parametrize(
    ("missing", "asked", "told"),
    [
        ("pymilvus", "milvus://127.0.0.1:1", "pip install 'faceserve[milvus]'"),
        ("milvus_lite.adapter.grpc.server", "milvus:///nowhere/at/all.db", "pip install milvus-lite"),
    ],
)
def test_what_is_not_installed_is_named_with_the_remedy(
    missing: str, asked: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as if it could not be found
    with pytest.raises(StorageError) as refused, MilvusGallery(parse(asked)) as gallery:
        gallery.ready()
    assert told in str(refused.value)


def test_nothing_is_imported_or_left_running_that_was_not_asked_for() -> None:
    program = """
import sys, threading
import gallery.milvus.gallery, app.galleries
print(sorted({"pymilvus", "milvus_lite", "grpc"} & set(sys.modules)), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 1\n"
