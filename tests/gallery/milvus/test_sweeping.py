"""What has expired leaves Milvus, asked for or not."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from gallery.milvus.connection import AwayError
from gallery.milvus.gallery import MilvusGallery
from gallery.milvus.sweeper import Sweeper
from tests.gallery.contract.conftest import EMBEDDER, face, names, vector
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


def test_the_thread_goes_on_after_a_failure_and_ends_when_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="faceserve")
    calls, twice = [], threading.Event()

    def sweep() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise AwayError("Milvus cannot be reached")
        twice.set()

    sweeper = Sweeper(sweep, every_s=0.01)
    assert not calls
    sweeper.wanted()
    sweeper.wanted()
    assert twice.wait(20)
    sweeper.close()
    sweeper.close()
    sweeper.wanted()
    assert not [thread for thread in threading.enumerate() if thread.name == "expiry"]
    assert "could not be erased yet: Milvus cannot be reached" in caplog.text
