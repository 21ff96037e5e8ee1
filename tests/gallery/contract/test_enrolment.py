"""Enrolling, under every kind of gallery."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gallery.gallery import Gallery
from gallery.types import (
    CollectionNotFoundError,
    Enrolment,
    Idempotency,
    IdempotencyConflictError,
    InvalidEmbeddingError,
    InvalidNameError,
    ModelMismatchError,
    NewFace,
)
from tests.gallery.contract.conftest import EMBEDDER, Kind, face, names, vector


def once(key: str = "key", fingerprint: str = "body") -> Idempotency:
    """Renders another answer each time it is asked, so that a stored one can be told from a new one."""
    counter = itertools.count()

    def render(enrolment: Enrolment) -> bytes:
        return f"{enrolment.identity} {enrolment.faces[0].face_id} {next(counter)}".encode()

    return Idempotency(key, fingerprint, render)


def test_an_enrolled_face_is_found_with_its_identity(gallery: Gallery, people: str) -> None:
    done = gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, metadata={"team": "blue"})
    assert done.created
    (match,) = gallery.search(people, vector(1)[None], embedder=EMBEDDER, top_k=5, threshold=0.5)[0]
    assert (match.identity, match.face_id, match.metadata) == ("alice", done.faces[0].face_id, {"team": "blue"})
    assert match.similarity == pytest.approx(1, abs=1e-6)
    assert match.similarity <= 1


def test_the_same_picture_again_is_a_duplicate_under_the_same_identity_only(gallery: Gallery, people: str) -> None:
    first = gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    again = gallery.enroll(people, "alice", [face(1), face(2), face(2)], embedder=EMBEDDER)
    assert not again.created
    assert again.faces[0].duplicate_of == again.faces[0].face_id == first.faces[0].face_id
    assert again.faces[1].duplicate_of is None
    assert again.faces[2].duplicate_of == again.faces[1].face_id
    assert gallery.enroll(people, "bob", [face(1)], embedder=EMBEDDER).faces[0].duplicate_of is None
    assert (gallery.collection(people).identities, gallery.collection(people).faces) == (2, 3)
    assert [shown.face_id for shown in gallery.identity(people, "alice").faces] == [
        first.faces[0].face_id,
        again.faces[1].face_id,
    ]


def test_what_is_wrong_is_refused_and_leaves_nothing(gallery: Gallery, people: str) -> None:
    nan = NewFace(np.full(16, np.nan, np.float32), "ab" * 32)
    with pytest.raises(InvalidEmbeddingError):
        gallery.enroll(people, "alice", [face(1), nan], embedder=EMBEDDER)
    with pytest.raises(ValueError, match="at least one"):
        gallery.enroll(people, "alice", [], embedder=EMBEDDER)
    with pytest.raises(ModelMismatchError):
        gallery.enroll(people, "alice", [face(1)], embedder="other")
    with pytest.raises(InvalidNameError):
        gallery.enroll(people, "a/b", [face(1)], embedder=EMBEDDER)
    with pytest.raises(CollectionNotFoundError, match="nowhere"):
        gallery.enroll("nowhere", "alice", [face(1)], embedder=EMBEDDER)
    assert (gallery.collection(people).identities, gallery.collection(people).faces) == (0, 0)


def test_metadata_is_replaced_when_given_and_kept_otherwise(gallery: Gallery, people: str) -> None:
    told = {"a": 1, "ü": ["x", None, 0.5], "long": "é" * 15_000}
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, metadata=told)
    gallery.enroll(people, "alice", [face(2)], embedder=EMBEDDER)
    assert gallery.identity(people, "alice").metadata == told
    gallery.enroll(people, "alice", [face(3)], embedder=EMBEDDER, metadata={})
    assert gallery.identity(people, "alice").metadata == {}


def test_two_spellings_of_one_name_are_one_identity(gallery: Gallery, people: str) -> None:
    gallery.enroll(people, 'Zoe\u0308 "\\ \U0001f600', [face(1)], embedder=EMBEDDER)
    assert gallery.identity(people, 'Zo\u00eb "\\ \U0001f600').name == 'Zo\u00eb "\\ \U0001f600'
    assert not gallery.enroll(people, 'Zo\u00eb "\\ \U0001f600', [face(2)], embedder=EMBEDDER).created


def test_crops_come_back_whatever_their_size(gallery: Gallery, people: str) -> None:
    crops = [bytes(range(256)) * size for size in (1, 150, 800)]
    new = [face(number, crop) for number, crop in enumerate(crops)]
    done = gallery.enroll(people, "alice", [*new, face(9)], embedder=EMBEDDER)
    for enrolled, crop in zip(done.faces, [*crops, None], strict=True):
        assert gallery.crop(people, "alice", enrolled.face_id) == crop
    assert [shown.has_crop for shown in gallery.identity(people, "alice").faces] == [True, True, True, False]
    assert gallery.check() == []


def test_two_handles_know_of_each_other_at_once(gallery: Gallery, kind: Kind, people: str) -> None:
    other = kind.open()
    for number in range(5):
        one, two = (gallery, other) if number % 2 else (other, gallery)
        one.enroll(people, f"p {number}", [face(number)], embedder=EMBEDDER)
        assert names(two, people, vector(number)) == [f"p {number}"]
        assert two.collection(people).identities == number + 1
    gallery.update_identity(people, "p 0", new_name="anna", metadata={"x": 1})
    (match,) = other.search(people, vector(0)[None], embedder=EMBEDDER, top_k=1, threshold=0.9)[0]
    assert (match.identity, match.metadata) == ("anna", {"x": 1})
    other.delete_identity(people, "anna")
    assert names(gallery, people, vector(0)) == []


def test_one_person_enrolled_by_many_threads_is_one(gallery: Gallery, kind: Kind, people: str) -> None:
    handles = [gallery, kind.open()]

    def enroll(number: int) -> Enrolment:
        return handles[number % 2].enroll(people, "alice", [face(number)], embedder=EMBEDDER)

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(enroll, range(16)))
    assert len({one.faces[0].face_id for one in done}) == 16
    assert len(gallery.identity(people, "alice").faces) == 16
    assert (gallery.collection(people).identities, gallery.collection(people).faces) == (1, 16)
    assert gallery.check() == []


def test_the_same_key_and_body_get_the_same_bytes(gallery: Gallery, kind: Kind, people: str) -> None:
    first = gallery.enroll_once(people, "alice", [face(1)], embedder=EMBEDDER, idempotency=once())
    again = gallery.enroll_once(people, "alice", [face(1)], embedder=EMBEDDER, idempotency=once())
    assert first == again == kind.open().recall(people, "key", "body")
    assert gallery.recall(people, "another key", "body") is None
    assert gallery.collection(people).faces == 1
    with pytest.raises(IdempotencyConflictError, match="another body"):
        gallery.enroll_once(people, "bob", [face(2)], embedder=EMBEDDER, idempotency=once(fingerprint="other"))
    with pytest.raises(IdempotencyConflictError):
        gallery.recall(people, "key", "other")
    assert gallery.collection(people).identities == 1


def test_what_cannot_be_rendered_is_not_enrolled(gallery: Gallery, people: str) -> None:
    def broken(_: Enrolment) -> bytes:
        raise RuntimeError("could not render")

    with pytest.raises(RuntimeError):
        gallery.enroll_once(
            people, "alice", [face(1)], embedder=EMBEDDER, idempotency=Idempotency("key", "body", broken)
        )
    assert gallery.recall(people, "key", "body") is None
    assert gallery.collection(people).identities == 0


def test_an_answer_may_be_long_and_of_any_bytes(gallery: Gallery, people: str) -> None:
    answer = bytes(range(256)) * 700
    request = Idempotency("key", "body", lambda _: answer)
    assert gallery.enroll_once(people, "alice", [face(1)], embedder=EMBEDDER, idempotency=request) == answer
    assert gallery.recall(people, "key", "body") == answer


def test_an_answer_is_forgotten_in_time(gallery: Gallery, kind: Kind, people: str) -> None:
    forgetful, request = kind.open(idempotency_ttl_s=0), once()
    first = forgetful.enroll_once(people, "alice", [face(1)], embedder=EMBEDDER, idempotency=request)
    assert forgetful.recall(people, "key", "other body") is None
    assert forgetful.enroll_once(people, "alice", [face(2)], embedder=EMBEDDER, idempotency=request) != first


def test_an_answer_goes_with_the_face_or_identity_it_tells_of(gallery: Gallery, people: str) -> None:
    for number in (1, 2, 3):
        gallery.enroll_once(
            people, f"person {number % 2}", [face(number)], embedder=EMBEDDER, idempotency=once(f"key {number}")
        )
    gallery.delete_face(people, "person 1", gallery.identity(people, "person 1").faces[0].face_id)
    assert gallery.recall(people, "key 1", "body") is None
    assert gallery.recall(people, "key 3", "body") is not None
    gallery.delete_identity(people, "person 1")
    assert gallery.recall(people, "key 3", "body") is None
    assert gallery.recall(people, "key 2", "body") is not None


def test_of_many_threads_one_does_it(gallery: Gallery, people: str) -> None:
    request = once()

    def enroll(_: int) -> bytes:
        return gallery.enroll_once(people, "alice", [face(1)], embedder=EMBEDDER, idempotency=request)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(enroll, range(16)))) == 1
    assert gallery.collection(people).faces == 1
