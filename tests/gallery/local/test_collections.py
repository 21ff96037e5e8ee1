"""Collections: apart from each other, bound to an embedder, followed by every handle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import (
    CollectionExistsError,
    CollectionNotFoundError,
    ModelMismatchError,
    NewFace,
)

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]
Names = Callable[..., list[str]]


def test_an_empty_collection_and_no_query_find_nothing(gallery: LocalGallery, new_face: Faces, names: Names) -> None:
    assert names(gallery, new_face(1).embedding) == []
    assert gallery.search("people", np.empty((0, 16), np.float32), embedder=EMBEDDER, top_k=1, threshold=0) == []


def test_another_embedders_collection_is_refused(gallery: LocalGallery, new_face: Faces) -> None:
    gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
    query = new_face(1).embedding
    with pytest.raises(ModelMismatchError, match="people"):
        gallery.enroll("people", "alice", [new_face(2)], embedder="other")
    with pytest.raises(ModelMismatchError):
        gallery.search("people", query[None], embedder="other", top_k=1, threshold=0)
    with pytest.raises(ModelMismatchError):
        gallery.similarity("people", "alice", query, embedder="other")
    with pytest.raises(ModelMismatchError):
        gallery.ensure_collection("people", "other", 16)


def test_collections_are_apart(gallery: LocalGallery, folder: Path, new_face: Faces, names: Names) -> None:
    gallery.create_collection("other", EMBEDDER, 16)
    gallery.enroll("other", "alice", [new_face(1)], embedder=EMBEDDER)
    assert names(gallery, new_face(1).embedding) == []
    with pytest.raises(CollectionExistsError):
        gallery.create_collection("other", EMBEDDER, 16)
    assert gallery.ensure_collection("other", EMBEDDER, 16).faces == 1
    assert [collection.name for collection in gallery.collections()] == ["other", "people"]


def test_a_collection_made_anew_under_a_deleted_ones_name_is_empty(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    with LocalGallery(folder) as other:
        gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
        assert names(other, new_face(1).embedding) == ["alice"]
        gallery.delete_collection("people")
        with pytest.raises(CollectionNotFoundError):
            names(other, new_face(1).embedding)
        gallery.create_collection("people", EMBEDDER, 16)
        assert names(other, new_face(1).embedding) == []
        gallery.enroll("people", "bob", [new_face(2)], embedder=EMBEDDER)
        assert names(other, new_face(2).embedding) == ["bob"]
        assert other.check() == []


def test_a_collection_made_anew_is_another_one_also_for_who_looked_away(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    with LocalGallery(folder) as other:
        gallery.enroll("people", "alice", [new_face(1)], embedder=EMBEDDER)
        assert names(other, new_face(1).embedding) == ["alice"]
        gallery.delete_collection("people")
        gallery.create_collection("people", EMBEDDER, 16)
        gallery.enroll("people", "bob", [new_face(2)], embedder=EMBEDDER)
        assert [names(other, new_face(number).embedding) for number in (1, 2)] == [[], ["bob"]]
        assert other.check() == []


def test_the_memory_of_a_collection_deleted_elsewhere_is_let_go(
    gallery: LocalGallery, folder: Path, new_face: Faces, names: Names
) -> None:
    with LocalGallery(folder) as other:
        assert names(other, new_face(1).embedding) == []
        gallery.delete_collection("people")
        other.ready()
        assert other._projections._of == {}


def test_a_trimmed_log_is_made_up_for_by_loading_anew(folder: Path, new_face: Faces, names: Names) -> None:
    with LocalGallery(folder, keep_changes=5) as gallery, LocalGallery(folder, keep_changes=5) as behind:
        gallery.create_collection("people", EMBEDDER, 16)
        gallery.enroll("people", "first", [new_face(0)], embedder=EMBEDDER)
        assert names(behind, new_face(0).embedding) == ["first"]
        for number in range(1, 20):
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
        gallery.delete_identity("people", "first")
        assert names(behind, new_face(0).embedding) == []
        assert [names(behind, new_face(number).embedding) for number in (1, 19)] == [["person 1"], ["person 19"]]
        assert behind.check() == []
