"""A request sent twice is done once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import Enrolment, Idempotency, IdempotencyConflictError, NewFace

if TYPE_CHECKING:
    from tests.gallery.local.conftest import Worker

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


def once(key: str = "key", fingerprint: str = "body") -> Idempotency:
    """Renders another answer each time it is asked, so that a stored one can be told from a new one."""
    counter = itertools.count()

    def render(enrolment: Enrolment) -> bytes:
        return f"{enrolment.identity} {enrolment.faces[0].face_id} {next(counter)}".encode()

    return Idempotency(key, fingerprint, render)


def test_the_same_key_and_body_get_the_same_bytes(gallery: LocalGallery, new_face: Faces) -> None:
    request = once()
    first = gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=request)
    again = gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=request)
    assert first == again == gallery.recall("people", "key", "body")
    assert gallery.recall("people", "another key", "body") is None
    assert gallery.collection("people").faces == 1


def test_the_same_key_with_another_body_is_a_conflict(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=once())
    with pytest.raises(IdempotencyConflictError, match="another body"):
        gallery.enroll_once("people", "bob", [new_face(2)], embedder=EMBEDDER, idempotency=once(fingerprint="other"))
    with pytest.raises(IdempotencyConflictError):
        gallery.recall("people", "key", "other")
    assert gallery.collection("people").identities == 1


def test_a_key_is_of_its_collection(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.create_collection("other", EMBEDDER, 16)
    gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=once())
    assert gallery.recall("other", "key", "other body") is None
    gallery.enroll_once("other", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=once(fingerprint="2"))


def test_what_fails_is_not_remembered(gallery: LocalGallery, new_face: Faces) -> None:
    def broken(_: Enrolment) -> bytes:
        raise RuntimeError("could not render")

    request = Idempotency("key", "body", broken)
    with pytest.raises(RuntimeError):
        gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=request)
    assert gallery.recall("people", "key", "body") is None
    assert gallery.collection("people").identities == 0


def test_an_answer_is_forgotten_in_time(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder, idempotency_ttl_s=0) as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        request = once()
        first = gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=request)
        assert gallery.recall("people", "key", "other body") is None
        assert gallery.enroll_once("people", "alice", [new_face(2)], embedder=EMBEDDER, idempotency=request) != first


def test_an_answer_goes_with_the_face_or_identity_it_tells_of(gallery: LocalGallery, new_face: Faces) -> None:
    for number in (1, 2, 3):
        gallery.enroll_once(
            "people", f"person {number % 2}", [new_face(number)], embedder=EMBEDDER, idempotency=once(f"key {number}")
        )
    faces = gallery.identity("people", "person 1").faces
    gallery.delete_face("people", "person 1", faces[0].face_id)
    assert gallery.recall("people", "key 1", "body") is None
    assert gallery.recall("people", "key 3", "body") is not None
    gallery.delete_identity("people", "person 1")
    assert gallery.recall("people", "key 3", "body") is None
    assert gallery.recall("people", "key 2", "body") is not None


def test_of_many_threads_one_does_it(gallery: LocalGallery, new_face: Faces) -> None:
    request = once()

    def enroll(_: int) -> bytes:
        return gallery.enroll_once("people", "alice", [new_face(1)], embedder=EMBEDDER, idempotency=request)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(enroll, range(32)))) == 1
    assert gallery.collection("people").faces == 1


def test_of_two_processes_one_does_it(folder: Path, worker: Callable[..., Worker]) -> None:
    workers = [worker(str(folder), "serve") for _ in range(2)]
    assert [each.line() for each in workers] == ['"ready"\n'] * 2
    with ThreadPoolExecutor(2) as threads:
        for number in range(10):
            request = {"do": "enroll_once", "identity": f"p {number}", "number": number, "key": f"k {number}"}
            answers = list(threads.map(lambda each, r=request: each.ask(**r, fingerprint="body"), workers))
            assert answers[0] == answers[1]
            assert "created=True" in answers[0]
