"""From its moment on an expired identity is in no answer of anybody."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import expiry
from gallery.local.gallery import LocalGallery
from gallery.types import (
    CollectionFullError,
    Enrolment,
    Idempotency,
    IdentityNotFoundError,
    NewFace,
    Scoring,
    Terms,
)

if TYPE_CHECKING:
    from tests.gallery.local.expiry.conftest import Hands


EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
START = 1_800_000_000.0
Faces = Callable[[int], NewFace]
Vector = Callable[[int], NDArray[np.float32]]


def all_answers(gallery: LocalGallery, query: NDArray[np.float32], searched: list[int]) -> dict[str, object]:
    """Of each call of the gallery the identities that it tells of; `searched` gets what thresholds are computed for."""

    def line(identities: int) -> float:
        searched.append(identities)
        return -1

    def found(chosen: Filter | None) -> set[str]:
        rows = query[np.newaxis]
        (best,) = gallery.search("people", rows, embedder=EMBEDDER, top_k=9, threshold=line, chosen=chosen)
        return {match.identity for match in best}

    about = gallery.collection("people")
    exported = [record.get("identity") for record in gallery.export("people") if record["type"] == "identity"]
    return {
        "counts": (about.identities, about.faces),
        "all counts": [(each.identities, each.faces) for each in gallery.collections()],
        "search": found(None),
        "search among some": found(Filter.of({"team": "blue"})),
        "page": {identity.name for identity in gallery.identities("people").identities},
        "export": set(exported),
        "check": gallery.check(),
    }


def asking_for_bob(gallery: LocalGallery, face: str, query: NDArray[np.float32]) -> list[Callable[[], object]]:
    return [
        lambda: gallery.identity("people", "bob"),
        lambda: gallery.similarity("people", "bob", query, embedder=EMBEDDER),
        lambda: gallery.crop("people", "bob", face),
        lambda: gallery.update_identity("people", "bob", expires_at=math.inf),
        lambda: gallery.delete_identity("people", "bob"),
        lambda: gallery.delete_face("people", "bob", face),
    ]


@pytest.mark.parametrize("scoring", ["max", "mean"])
def test_from_its_moment_on_nobody_tells_of_it(
    clock: Hands, folder: Path, new_face: Faces, vector: Vector, scoring: Scoring
) -> None:
    with LocalGallery(folder) as one, LocalGallery(folder) as other:
        one.create_collection("people", EMBEDDER, DIMENSION, Terms(scoring))
        kept = one.enroll("people", "carol", [new_face(5)], embedder=EMBEDDER, metadata={"team": "blue"})
        end = START + 60
        gone = [new_face(1), new_face(2)]
        first = one.enroll("people", "bob", gone, embedder=EMBEDDER, metadata={"team": "blue"}, expires_at=end)
        searched: list[int] = []
        for gallery in (one, other):
            before = all_answers(gallery, vector(1), searched)
            assert before["counts"] == (2, 3)
            assert [before[key] for key in ("search", "search among some", "page", "export")] == [{"bob", "carol"}] * 4
        assert (one.identity("people", "bob").expires_at, one.identity("people", "carol").expires_at) == (end, None)
        clock.now = end - 0.001
        assert one.identity("people", "bob").name == "bob"
        assert searched == [2] * 4
        clock.now = end
        for gallery in (other, one):
            searched.clear()
            after = all_answers(gallery, vector(1), searched)
            assert after["counts"] == (1, 1)
            assert after["all counts"] == [(1, 1)]
            assert [after[key] for key in ("search", "search among some", "page", "export")] == [{"carol"}] * 4
            assert after["check"] == []
            assert searched == [1, 1]
            for ask in asking_for_bob(gallery, first.faces[0].face_id, vector(1)):
                with pytest.raises(IdentityNotFoundError):
                    ask()
            looks = gallery.lookalikes("people", kept, [new_face(1)], embedder=EMBEDDER, threshold=-1)
            assert looks == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda gallery, face: gallery.collection("people").identities == 0,
        lambda gallery, face: gallery.collections()[0].faces == 0,
        lambda gallery, face: not gallery.identities("people").identities,
        lambda gallery, face: [record["type"] for record in gallery.export("people")] == ["collection", "end"],
        lambda gallery, face: gallery.recall("people", "key", "body") is None,
        lambda gallery, face: (
            not gallery.search("people", face.embedding[None], embedder=EMBEDDER, top_k=1, threshold=-1)[0]
        ),
        lambda gallery, face: gallery.enroll("people", "bob", [face], embedder=EMBEDDER).created,
        lambda gallery, face: gallery.survey("people").without_crop == 0,
        lambda gallery, face: gallery.ready() is None and gallery.check() == [],
    ],
)
def test_whatever_is_asked_first(
    gallery: LocalGallery, clock: Hands, new_face: Faces, ask: Callable[[LocalGallery, NewFace], bool]
) -> None:
    once = Idempotency("key", "body", lambda done: b"bob")
    gallery.enroll_once("people", "bob", [new_face(1)], embedder=EMBEDDER, idempotency=once, expires_at=START + 1)
    gallery.search("people", new_face(1).embedding[None], embedder=EMBEDDER, top_k=1, threshold=-1)
    clock.now += 1
    assert ask(gallery, new_face(1))


def test_an_end_is_left_moved_or_taken_away(
    gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment]
) -> None:
    def end() -> float | None:
        return gallery.identity("people", "bob").expires_at

    enroll("bob", 1, expires_at=START + 10)
    enroll("bob", 2)
    assert end() == START + 10
    enroll("bob", 2, expires_at=START + 20)  # nothing new but this
    assert end() == START + 20
    gallery.update_identity("people", "bob", new_name="bob", metadata={})
    assert end() == START + 20
    assert gallery.update_identity("people", "bob", expires_at=START + 5).expires_at == START + 5
    assert gallery.update_identity("people", "bob", expires_at=math.inf).expires_at is None
    enroll("bob", 3, expires_at=START + 9)
    enroll("bob", 3, expires_at=math.inf)
    assert end() is None
    clock.now += 1000
    assert end() is None


@pytest.mark.parametrize("moment", [math.nan, -1.0, -math.inf, 1e15])
def test_a_moment_that_is_none_is_refused(
    gallery: LocalGallery, enroll: Callable[..., Enrolment], moment: float
) -> None:
    with pytest.raises(ValueError, match="expires_at"):
        enroll("bob", 1, expires_at=moment)
    assert gallery.collection("people").identities == 0


def test_a_collections_lifetime_is_renewed_by_new_faces_and_shortens_nobodys(
    gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment]
) -> None:
    assert gallery.create_collection("guests", EMBEDDER, DIMENSION, Terms(ttl_s=100)).ttl_s == 100

    def end(name: str) -> float | None:
        return gallery.identity("guests", name).expires_at

    for name, said in (("bob", None), ("dave", START + 1000), ("erin", math.inf), ("frank", START + 10)):
        enroll(name, 1, expires_at=said, collection="guests")
    assert [end(name) for name in ("bob", "dave", "erin", "frank")] == [START + 100, START + 1000, None, START + 10]
    clock.now += 5
    for name in ("bob", "dave", "erin", "frank"):
        enroll(name, 1, collection="guests")  # the same picture renews nothing
    assert [end(name) for name in ("bob", "dave", "erin", "frank")] == [START + 100, START + 1000, None, START + 10]
    for name in ("bob", "dave", "erin", "frank"):
        enroll(name, 2, collection="guests")
    assert [end(name) for name in ("bob", "dave", "erin", "frank")] == [START + 105, START + 1000, None, START + 105]
    clock.now = START + 105
    assert {each.name for each in gallery.identities("guests").identities} == {"dave", "erin"}


@pytest.mark.parametrize("ttl_s", [0, -1, math.inf, math.nan, 1e11, True, "1"])
def test_a_lifetime_that_is_none_is_refused(ttl_s: float) -> None:
    with pytest.raises(ValueError, match="ttl_s"):
        Terms(ttl_s=ttl_s)


def test_the_expired_do_not_fill_a_collection(
    gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment]
) -> None:
    gallery.create_collection("small", EMBEDDER, DIMENSION, Terms(max_identities=1))
    enroll("bob", 1, expires_at=START + 1, collection="small")
    with pytest.raises(CollectionFullError):
        enroll("carol", 2, collection="small")
    clock.now += 1
    enroll("carol", 2, collection="small")


def test_what_an_export_brings(gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment]) -> None:
    gallery.create_collection("guests", EMBEDDER, DIMENSION, Terms(ttl_s=100))
    for name, moment in (("bob", START + 9), ("carol", START + 99), ("dave", math.inf)):
        enroll(name, 1, expires_at=moment, collection="guests")
    records = list(gallery.export("guests"))
    clock.now += 9
    for collection in ("copy", "guests"):
        done = gallery.import_records(records, embedder=EMBEDDER, collection=collection)
        assert done.identities == (2 if collection == "copy" else 0)
        page = gallery.identities(collection).identities
        assert {each.name: each.expires_at for each in page} == {"carol": START + 99, "dave": None}
    assert gallery.collection("copy").ttl_s == 100


def test_the_look_is_answered_from_the_index_alone(gallery: LocalGallery) -> None:
    with gallery._store.read() as connection:
        for statement, values in ((expiry._NEXT, ()), (expiry._DUE, (0, 1))):
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            assert "identities_expiring" in plan[3]


def test_the_checker_convicts_a_look_that_is_left_out(
    gallery: LocalGallery, clock: Hands, enroll: Callable[..., Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "next_moment", lambda connection: None)
    enroll("bob", 1, expires_at=START + 9)
    clock.now += 9
    assert gallery.identity("people", "bob").name == "bob"
