"""What has expired leaves Milvus, asked for or not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from gallery.milvus import gallery as gallery_module
from gallery.milvus.connection import AwayError
from gallery.milvus.gallery import MilvusGallery
from gallery.milvus.sweeper import Sweeper
from tests.gallery.contract.conftest import EMBEDDER, face, names, vector
from tests.gallery.milvus.conftest import Opened, until
from tests.gallery.milvus.interleaving import faults


def test_the_rows_of_the_expired_go(gallery: MilvusGallery, people: str) -> None:
    soon = time.time() + 0.5
    for number in range(4):
        gallery.enroll(
            people, f"p {number}", [face(number, b"\x89PNG")], embedder=EMBEDDER, expires_at=soon + 3600 * (number % 2)
        )
    while time.time() <= soon:
        time.sleep(0.01)
    gallery._sweep()
    bound = gallery._bindings.read(people)
    assert {row["owner"] for row in gallery._connection.rows(bound.faces, 'owner != ""', ["owner"])} == {
        row["owner"] for row in gallery._connection.rows(bound.records, 'owner != ""', ["owner"])
    }
    assert gallery._connection.count(bound.faces) == 2
    assert [names(gallery, people, vector(number)) for number in range(4)] == [[], ["p 1"], [], ["p 3"]]
    assert faults(gallery, people) == []


def test_the_rows_of_those_go_who_were_enrolled_before_the_service_was_started(
    gallery: MilvusGallery, opened: Opened, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    gallery.update_identity(people, "alice", expires_at=time.time() + 0.2)
    bound = gallery._bindings.read(people)
    gallery.close()
    monkeypatch.setattr(gallery_module, "Sweeper", partial(Sweeper, every_s=0.05))
    later = opened()
    until(lambda: later._connection.count(bound.faces) == 0)


def test_nobody_is_counted_less_than_nobody(
    gallery: MilvusGallery, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expired are counted, erased, and then all are counted."""
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, expires_at=time.time() + 0.1)
    time.sleep(0.11)

    def meanwhile(one: Callable[[], int], other: Callable[[], int]) -> tuple[int, int]:
        expired = other()
        monkeypatch.undo()
        gallery._sweep()
        return one(), expired

    monkeypatch.setattr(gallery._connection, "together", meanwhile)
    assert gallery.collection(people).identities == 0


def test_the_thread_goes_on_after_a_failure_and_ends_when_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="faceserve")
    calls, twice = [], threading.Event()

    def sweep() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise AwayError("Milvus cannot be reached")
        twice.set()

    sweeper, before = Sweeper(sweep, every_s=0.01), set(threading.enumerate())
    assert not calls
    sweeper.start()
    sweeper.start()
    assert twice.wait(20)
    sweeper.close()
    sweeper.close()
    sweeper.start()
    assert set(threading.enumerate()) <= before
    assert "could not be erased yet: Milvus cannot be reached" in caplog.text
