"""What the gallery promises, one call after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import (
    CollectionNotFoundError,
    FaceNotFoundError,
    IdentityExistsError,
    IdentityNotFoundError,
    InvalidCursorError,
    InvalidEmbeddingError,
    InvalidNameError,
    NewFace,
)

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]
Names = Callable[..., list[str]]


def test_an_enrolled_face_is_found_with_its_identity(gallery: LocalGallery, new_face: Faces) -> None:
    done = gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER, metadata={"team": "blue"})
    assert done.created
    (match,) = gallery.search("people", new_face(1).embedding[None], embedder=EMBEDDER, top_k=5, threshold=0.5)[0]
    assert (match.identity, match.face_id, match.metadata) == ("alice", done.faces[0].face_id, {"team": "blue"})
    assert match.similarity == pytest.approx(1, abs=1e-6)
    assert match.similarity <= 1


def test_the_same_picture_again_is_a_duplicate_under_the_same_identity_only(
    gallery: LocalGallery, new_face: Faces
) -> None:
    first = gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    again = gallery.enroll("people", "alice", [new_face(1), new_face(2)], embedder=EMBEDDER)
    assert not again.created
    assert again.faces[0].duplicate_of == again.faces[0].face_id == first.faces[0].face_id
    assert again.faces[1].duplicate_of is None
    assert gallery.enroll("people", "bob", [new_face(1)], embedder=EMBEDDER).faces[0].duplicate_of is None
    assert (gallery.collection("people").identities, gallery.collection("people").faces) == (2, 3)


def test_the_same_picture_twice_in_one_call_is_enrolled_once(gallery: LocalGallery, new_face: Faces) -> None:
    done = gallery.enroll("people", "alice", [new_face(1), new_face(1)], embedder=EMBEDDER)
    assert done.faces[1].duplicate_of == done.faces[0].face_id


def test_a_failed_enrolment_leaves_nothing(gallery: LocalGallery, new_face: Faces) -> None:
    wrong = NewFace(np.full(16, np.nan, np.float32), "ab" * 32)
    with pytest.raises(InvalidEmbeddingError):
        gallery.enroll("people", "alice", [new_face(1), wrong], embedder=EMBEDDER)
    with pytest.raises(ValueError, match="at least one"):
        gallery.enroll("people", "alice", [], embedder=EMBEDDER)
    assert gallery.collection("people").identities == 0


def test_metadata_is_replaced_when_given_and_kept_otherwise(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER, metadata={"a": 1})
    gallery.enroll("people", "alice", [new_face(2)], embedder=EMBEDDER)
    assert gallery.identity("people", "alice").metadata == {"a": 1}
    assert gallery.update_identity("people", "alice", metadata={"b": [2]}).metadata == {"b": [2]}
    gallery.enroll("people", "alice", [new_face(3)], embedder=EMBEDDER, metadata={})
    assert gallery.identity("people", "alice").metadata == {}


def test_rename_and_metadata_show_in_the_next_answer_of_another_handle(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    with LocalGallery(folder) as other:
        gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
        assert names(other, new_face(1).embedding) == ["alice"]
        gallery.update_identity("people", "alice", new_name="Alice B.", metadata={"x": 1})
        found = other.search("people", new_face(1).embedding[None], embedder=EMBEDDER, top_k=1, threshold=0)[0][0]
        assert (found.identity, found.metadata) == ("Alice B.", {"x": 1})


def test_a_name_belongs_to_one_identity(gallery: LocalGallery, new_face: Faces) -> None:
    for number, name in enumerate(("alice", "bob")):
        gallery.enroll("people", name, [new_face(number)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="bob"):
        gallery.update_identity("people", "alice", new_name="bob", metadata={"never": 1})
    assert gallery.identity("people", "alice").metadata == {}
    assert gallery.update_identity("people", "alice", new_name="alice").name == "alice"
    gallery.update_identity("people", "alice", new_name="carol")
    assert gallery.enroll("people", "alice", [new_face(3)], embedder=EMBEDDER).created


def test_two_spellings_of_one_name_are_one_identity(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.enroll("people", "Zoe\u0308", [new_face(1)], embedder=EMBEDDER)
    assert gallery.identity("people", "Zo\u00eb").name == "Zo\u00eb"


def test_deleted_is_deleted_everywhere_at_once(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    with LocalGallery(folder) as other:
        done = gallery.enroll("people", "alice", [new_face(1), new_face(2)], embedder=EMBEDDER)
        gallery.enroll("people", "bob", [new_face(3)], embedder=EMBEDDER)
        assert names(other, new_face(2).embedding) == ["alice"]
        gallery.delete_face("people", "alice", done.faces[1].face_id)
        assert names(other, new_face(2).embedding) == []
        assert names(other, new_face(1).embedding) == ["alice"]
        assert gallery.delete_identity("people", "alice") == 1
        assert names(other, new_face(1).embedding) == []
        assert names(other, new_face(3).embedding) == ["bob"]
        assert gallery.check() == other.check() == []


def test_what_is_not_there_is_said_to_be_missing(gallery: LocalGallery, new_face: Faces) -> None:
    done = gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    gallery.enroll("people", "bob", [new_face(2)], embedder=EMBEDDER)
    face_id = done.faces[0].face_id
    with pytest.raises(CollectionNotFoundError, match="nowhere"):
        gallery.search("nowhere", new_face(1).embedding[None], embedder=EMBEDDER, top_k=1, threshold=0)
    with pytest.raises(CollectionNotFoundError):
        gallery.export("nowhere")
    with pytest.raises(IdentityNotFoundError, match="carol"):
        gallery.identity("people", "carol")
    with pytest.raises(IdentityNotFoundError):
        gallery.delete_identity("people", "carol")
    with pytest.raises(FaceNotFoundError):
        gallery.delete_face("people", "bob", face_id)
    with pytest.raises(FaceNotFoundError):
        gallery.crop("people", "alice", "not an id")


def test_similarity_is_the_best_of_the_identitys_own_faces(gallery: LocalGallery, new_face: Faces) -> None:
    done = gallery.enroll("people", "alice", [new_face(1), new_face(2)], embedder=EMBEDDER)
    gallery.enroll("people", "bob", [new_face(3)], embedder=EMBEDDER)
    similarity, face_id = gallery.similarity("people", "alice", new_face(2).embedding, embedder=EMBEDDER)
    assert similarity == pytest.approx(1, abs=1e-6)
    assert face_id == done.faces[1].face_id
    expected = max(float(new_face(number).embedding @ new_face(3).embedding) for number in (1, 2))
    other, _ = gallery.similarity("people", "alice", new_face(3).embedding, embedder=EMBEDDER)
    assert other == pytest.approx(expected, abs=1e-6)
    for face in done.faces:
        gallery.delete_face("people", "alice", face.face_id)
    assert gallery.identity("people", "alice").faces == ()
    with pytest.raises(FaceNotFoundError, match="no face left"):
        gallery.similarity("people", "alice", new_face(1).embedding, embedder=EMBEDDER)


def test_crops_come_back_as_given(gallery: LocalGallery, new_face: Faces) -> None:
    face = new_face(1)
    kept = NewFace(face.embedding, face.source_sha256, {"yaw": -3.5}, crop_png=b"\x89PNG\0crop")
    done = gallery.enroll("people", "alice", [kept, new_face(2)], embedder=EMBEDDER)
    assert [gallery.crop("people", "alice", each.face_id) for each in done.faces] == [b"\x89PNG\0crop", None]
    first, second = gallery.identity("people", "alice").faces
    assert (first.has_crop, second.has_crop) == (True, False)
    assert (first.quality, first.source_sha256) == ({"yaw": -3.5}, face.source_sha256)


def test_pages_hold_everyone_once_in_order(gallery: LocalGallery, new_face: Faces) -> None:
    for number in range(7):
        gallery.enroll("people", f"person {9 - number}", [new_face(number)], embedder=EMBEDDER)
    seen: list[str] = []
    page = gallery.identities("people", limit=3)
    while True:
        seen += [identity.name for identity in page.identities]
        if page.cursor is None:
            break
        gallery.update_identity("people", seen[0], new_name=seen[0] + "'")  # nobody moves between pages
        seen[0] += "'"
        page = gallery.identities("people", cursor=page.cursor, limit=3)
    assert [name.strip("'") for name in seen] == [f"person {9 - number}" for number in range(7)]
    assert gallery.identities("people", limit=7).cursor is None


@pytest.mark.parametrize("cursor", ["", "!", "bob", "a2FiYw", "azE=\n", "é", "x" * 1000])
def test_a_cursor_of_somebody_else_is_refused(gallery: LocalGallery, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        gallery.identities("people", cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_1_to_1000(gallery: LocalGallery, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        gallery.identities("people", limit=limit)


@pytest.mark.parametrize(
    "embedding",
    [
        np.ones((1, 16), np.float32),
        np.ones((1, 16), np.float64) / 4,
        np.ones((1, 15), np.float32),
        np.ones(16, np.float32) / 4,
        np.full((1, 16), np.nan, np.float32),
        np.full((1, 16), np.inf, np.float32),
        np.zeros((1, 16), np.float32),
    ],
)
def test_an_embedding_of_another_kind_is_refused(gallery: LocalGallery, embedding: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidEmbeddingError):
        gallery.search("people", embedding, embedder=EMBEDDER, top_k=1, threshold=0)


@pytest.mark.parametrize(("top_k", "threshold"), [(0, 0.5), (1, float("nan")), (1, 1.5), (1, -1.5)])
def test_nonsense_in_a_search_is_refused(
    gallery: LocalGallery, new_face: Faces, top_k: int, threshold: float, names: Names
) -> None:
    with pytest.raises(ValueError, match="expected"):
        names(gallery, new_face(1).embedding, top_k=top_k, threshold=threshold)


def test_names_are_checked_at_every_door(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    with pytest.raises(InvalidNameError):
        gallery.enroll("people", "a/b", [new_face(2)], embedder=EMBEDDER)
    with pytest.raises(InvalidNameError):
        gallery.update_identity("people", "alice", new_name="..")
    with pytest.raises(InvalidNameError):
        gallery.identity("people", "nul\0")
    with pytest.raises(InvalidNameError):
        gallery.create_collection("../etc", EMBEDDER, 16)
    with pytest.raises(InvalidNameError):
        gallery.search("a b", new_face(1).embedding[None], embedder=EMBEDDER, top_k=1, threshold=0)


def test_the_threshold_may_follow_from_the_number_searched(gallery: LocalGallery, new_face: Faces) -> None:
    for name in ("alice", "bob"):
        gallery.enroll("people", name, [new_face(len(name))], embedder=EMBEDDER)
    counts: list[int] = []

    def draw(identities: int) -> float:
        counts.append(identities)
        return 0.9

    query = new_face(len("bob")).embedding[np.newaxis]
    [found] = gallery.search("people", query, embedder=EMBEDDER, top_k=2, threshold=draw)
    assert [match.identity for match in found] == ["bob"]
    assert counts == [2]
