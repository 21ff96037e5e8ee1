"""What a collection may hold at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import CollectionFullError, IdentityFullError, InvalidRecordError, NewFace, Terms

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


@pytest.fixture
def small(gallery: LocalGallery) -> Iterator[LocalGallery]:
    """With the collection `small` of at most two identities with at most three faces each."""
    gallery.create_collection("small", EMBEDDER, 16, Terms("max", 2, 3))
    yield gallery
    assert gallery.check() == []


def counts(gallery: LocalGallery) -> tuple[int, int]:
    about = gallery.collection("small")
    return about.identities, about.faces


def test_one_identity_too_many_is_refused(small: LocalGallery, new_face: Faces) -> None:
    for number in range(2):
        small.enroll("small", f"p{number}", [new_face(number)], embedder=EMBEDDER)
    with pytest.raises(CollectionFullError, match="at most 2 identities"):
        small.enroll("small", "p2", [new_face(2)], embedder=EMBEDDER)
    assert counts(small) == (2, 2)
    small.enroll("small", "p1", [new_face(3)], embedder=EMBEDDER)
    small.delete_identity("small", "p0")
    small.enroll("small", "p2", [new_face(2)], embedder=EMBEDDER)
    assert counts(small) == (2, 3)


def test_one_face_too_many_is_refused_with_all_that_came_along(small: LocalGallery, new_face: Faces) -> None:
    small.enroll("small", "alice", [new_face(1), new_face(2)], embedder=EMBEDDER)
    with pytest.raises(IdentityFullError, match="at most 3 faces, this would make it 4"):
        small.enroll("small", "alice", [new_face(3), new_face(4)], embedder=EMBEDDER, metadata={"a": 1})
    assert (counts(small), small.identity("small", "alice").metadata) == ((1, 2), {})
    small.enroll("small", "alice", [new_face(1), new_face(2), new_face(3)], embedder=EMBEDDER)
    small.enroll("small", "alice", [new_face(2)], embedder=EMBEDDER)  # there already
    with pytest.raises(IdentityFullError):
        small.enroll("small", "bob", [new_face(number) for number in range(4)], embedder=EMBEDDER)
    assert counts(small) == (1, 3)


def test_many_at_once_do_not_pass_the_limit(small: LocalGallery, folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder) as other:

        def enroll(number: int) -> bool:
            handle = (small, other)[number % 2]
            try:
                return bool(handle.enroll("small", f"p{number}", [new_face(number)], embedder=EMBEDDER))
            except CollectionFullError:
                return False

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(enroll, range(16))) == 2
    assert counts(small) == (2, 2)


def test_limits_go_out_and_hold_for_what_comes_in(small: LocalGallery, new_face: Faces, tmp_path: Path) -> None:
    for number in range(2):
        small.enroll("small", f"p{number}", [new_face(number), new_face(10 + number)], embedder=EMBEDDER)
    records = [json.loads(json.dumps(record)) for record in small.export("small")]
    with LocalGallery(tmp_path / "target") as target:
        target.import_records(records, embedder=EMBEDDER)
        assert (target.collection("small").max_identities, target.collection("small").max_faces) == (2, 3)
        target.create_collection("tight", EMBEDDER, 16, Terms(max_faces=1))
        with pytest.raises(IdentityFullError):
            target.import_records(records, embedder=EMBEDDER, collection="tight")
        target.create_collection("single", EMBEDDER, 16, Terms(max_identities=1))
        with pytest.raises(CollectionFullError):
            target.import_records(records, embedder=EMBEDDER, collection="single")
        for limit in (0, "2", -1, 1.5, True):
            with pytest.raises(InvalidRecordError, match="a limit is"):
                target.import_records([records[0] | {"max_faces": limit}], embedder=EMBEDDER, collection="odd")
