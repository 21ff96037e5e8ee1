"""Searching, against a slow, obvious twin, under every kind of gallery."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.exchange import Tally, face_record, header, identity_record
from gallery.filters import Filter
from gallery.gallery import Gallery
from gallery.types import (
    CollectionNotFoundError,
    FaceNotFoundError,
    IdentityNotFoundError,
    InvalidEmbeddingError,
    ModelMismatchError,
    NewFace,
)
from tests.gallery.contract.conftest import EMBEDDER, face, names, vector

PEOPLE = 90
CREATED = "2026-01-01T00:00:00.000Z"


def described(number: int) -> dict[str, object]:
    """Metadata that tells 1 from True, "1" and 1.5, and null from nothing."""
    values: list[object] = [1, True, "1", 1.5, None, "sales", [1], {"x": 1}]
    return {"team": values[number % 8], "floor": float(number % 3)} if number % 9 else {}


@pytest.fixture
def crowd(gallery: Gallery, people: str) -> dict[str, list[int]]:
    """`p N` with one to five faces each, 270 in all; who has which."""
    faces, crowd, tally = iter(range(10_000)), {}, Tally()
    records = [header(gallery.collection(people))]
    for number in range(PEOPLE):
        crowd[f"p {number}"] = [next(faces) for _ in range(1 + number % 5)]
        records.append(identity_record(number.to_bytes(16, "big"), f"p {number}", described(number), CREATED))
        for one in crowd[f"p {number}"]:
            new, id_ = face(one), one.to_bytes(16, "big")
            sha256 = bytes.fromhex(new.source_sha256)
            records.append(face_record(id_, CREATED, sha256, new.quality, new.embedding.tobytes(), None))
    for record in records[1:]:
        tally.add(record)
    gallery.import_records([*records, tally.end()], embedder=EMBEDDER, collection=people)
    return crowd


@cache
def _exactly(numbers: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack([vector(number) for number in numbers]).astype(np.float64)


def twin(
    crowd: dict[str, list[int]],
    query: NDArray[np.float32],
    top_k: int,
    threshold: float,
) -> list[tuple[str, float]]:
    best = {name: float(np.max(_exactly(tuple(own)) @ query)) for name, own in crowd.items()}
    ranked = sorted(best.items(), key=lambda one: -one[1])
    return [(name, cosine) for name, cosine in ranked[:top_k] if cosine >= threshold]


def same(found: list[list[tuple[str, float]]], expected: list[list[tuple[str, float]]]) -> None:
    assert [[name for name, _ in one] for one in found] == [[name for name, _ in one] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert [cosine for _, cosine in one] == pytest.approx([cosine for _, cosine in other], abs=1e-5)


def test_searches_are_exact(gallery: Gallery, people: str, crowd: dict[str, list[int]]) -> None:
    queries = np.stack([vector(20_000 + number) for number in range(12)] + [vector(5)])
    page = gallery.identities(people, limit=1000).identities
    face_ids = {one.name: {kept.face_id for kept in one.faces} for one in page}
    for top_k, threshold in ((1, -1.0), (5, 0.2), (60, -0.5), (200, -1.0), (3, 0.9)):
        answers = gallery.search(people, queries, embedder=EMBEDDER, top_k=top_k, threshold=threshold)
        found = [[(match.identity, match.similarity) for match in matches] for matches in answers]
        same(found, [twin(crowd, query, top_k, threshold) for query in queries])
        assert all(match.face_id in face_ids[match.identity] for matches in answers for match in matches)


FILTERS: tuple[Mapping[str, Any], ...] = (
    {"team": 1},
    {"team": True},
    {"team": [None, "1"]},
    {"team": [1.5, "sales"], "floor": [0, 2]},
    {"floor": 1},
    {"nobody": "x"},
)


def test_a_filter_is_exact_and_the_threshold_hears_of_it(
    gallery: Gallery, people: str, crowd: dict[str, list[int]]
) -> None:
    told = {f"p {number}": described(number) for number in range(PEOPLE)}
    query = vector(30_000)
    for chosen in map(Filter.of, FILTERS):
        counts: list[int] = []

        def draw(identities: int, counts: list[int] = counts) -> float:
            counts.append(identities)
            return -0.5

        (found,) = gallery.search(people, query[None], embedder=EMBEDDER, top_k=20, threshold=draw, chosen=chosen)
        passing = {name for name, metadata in told.items() if chosen.passes(metadata)}
        expected = twin({name: crowd[name] for name in passing}, query, 20, -0.5)
        same([[(match.identity, match.similarity) for match in found]], [expected])
        assert counts == [len(passing)]
        assert all(match.metadata == told[match.identity] for match in found)


def test_a_filter_goes_by_what_metadata_is_now(gallery: Gallery, people: str) -> None:
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, metadata={"team": "blue"})
    gallery.update_identity(people, "alice", metadata={"team": "red"})

    def found(team: str) -> list[list[str]]:
        chosen = Filter.of({"team": team})
        answers = gallery.search(people, vector(1)[None], embedder=EMBEDDER, top_k=1, threshold=0.5, chosen=chosen)
        return [[match.identity for match in matches] for matches in answers]

    assert (found("blue"), found("red")) == ([[]], [["alice"]])


def test_one_with_many_faces_does_not_hide_others(gallery: Gallery, people: str) -> None:
    towards = vector(1)
    near = []
    for number in range(120):
        tilted = towards + np.float32(0.02) * vector(50_000 + number)
        near.append(NewFace(np.divide(tilted, np.linalg.norm(tilted), dtype=np.float32), f"{number:064x}"))
    gallery.enroll(people, "many", near, embedder=EMBEDDER)
    for number in range(3):
        gallery.enroll(people, f"few {number}", [face(number + 2)], embedder=EMBEDDER)
    found = names(gallery, people, towards, top_k=3, threshold=-1)
    assert found[0] == "many"
    assert len(set(found)) == 3


def test_the_threshold_may_follow_from_the_number_searched(gallery: Gallery, people: str) -> None:
    for number, name in enumerate(("alice", "bob", "carol")):
        gallery.enroll(people, name, [face(number), face(10 + number)], embedder=EMBEDDER)
    counts: list[int] = []

    def draw(identities: int) -> float:
        counts.append(identities)
        return 0.9

    (found,) = gallery.search(people, vector(1)[None], embedder=EMBEDDER, top_k=2, threshold=draw)
    assert [match.identity for match in found] == ["bob"]
    assert counts == [3]


def test_an_empty_collection_finds_nobody(gallery: Gallery, people: str) -> None:
    assert names(gallery, people, vector(1), threshold=-1) == []
    assert gallery.collection(people).identities == 0


def test_nonsense_is_refused(gallery: Gallery, people: str) -> None:
    for embedding in (np.ones((1, 16)), np.ones((1, 15), np.float32), np.zeros((1, 16), np.float32)):
        with pytest.raises(InvalidEmbeddingError):
            gallery.search(people, embedding, embedder=EMBEDDER, top_k=1, threshold=0)  # type: ignore[arg-type]
    for top_k, threshold in ((0, 0.5), (1, float("nan")), (1, 1.5), (1, -1.5)):
        with pytest.raises(ValueError, match="expected"):
            names(gallery, people, vector(1), top_k=top_k, threshold=threshold)
    with pytest.raises(ModelMismatchError):
        gallery.search(people, vector(1)[None], embedder="other", top_k=1, threshold=0)
    with pytest.raises(CollectionNotFoundError, match="nowhere"):
        names(gallery, "nowhere", vector(1))


def test_similarity_is_to_the_nearest_face(gallery: Gallery, people: str) -> None:
    done = gallery.enroll(people, "alice", [face(1), face(2)], embedder=EMBEDDER)
    cosine, face_id = gallery.similarity(people, "alice", vector(2), embedder=EMBEDDER)
    assert cosine == pytest.approx(1, abs=1e-6)
    assert cosine <= 1
    assert face_id == done.faces[1].face_id
    with pytest.raises(IdentityNotFoundError):
        gallery.similarity(people, "bob", vector(2), embedder=EMBEDDER)
    with pytest.raises(ModelMismatchError):
        gallery.similarity(people, "alice", vector(2), embedder="other")
    for enrolled in done.faces:
        gallery.delete_face(people, "alice", enrolled.face_id)
    with pytest.raises(FaceNotFoundError):
        gallery.similarity(people, "alice", vector(2), embedder=EMBEDDER)


def test_lookalikes_are_others(gallery: Gallery, people: str) -> None:
    gallery.enroll(people, "alice", [face(1), face(2)], embedder=EMBEDDER)
    done = gallery.enroll(people, "alicia", [face(1), face(3)], embedder=EMBEDDER)

    def lookalikes(threshold: float) -> list[str]:
        found = gallery.lookalikes(people, done, [face(1), face(3)], embedder=EMBEDDER, threshold=threshold)
        return [match.identity for match in found]

    assert lookalikes(0.9) == ["alice"]
    gallery.delete_identity(people, "alice")
    assert lookalikes(-1) == []
