"""Identities and collections, one call after another, under every kind of gallery."""

from __future__ import annotations

import math
import time

import pytest

from gallery.gallery import Gallery
from gallery.types import (
    CollectionExistsError,
    CollectionNotFoundError,
    FaceNotFoundError,
    IdentityExistsError,
    IdentityNotFoundError,
    InvalidCursorError,
    InvalidNameError,
    ModelMismatchError,
    NotOfferedError,
    StorageError,
    Target,
    Terms,
)
from tests.gallery.contract.conftest import DIMENSION, EMBEDDER, Kind, face, names, vector


def test_a_name_belongs_to_one_identity(gallery: Gallery, people: str) -> None:
    for number, name in enumerate(("alice", "bob")):
        gallery.enroll(people, name, [face(number)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="bob"):
        gallery.update_identity(people, "alice", new_name="bob", metadata={"never": 1})
    assert gallery.identity(people, "alice").metadata == {}
    assert gallery.update_identity(people, "alice", new_name="alice").name == "alice"
    assert gallery.update_identity(people, "alice", new_name="carol", metadata={"a": 1}).metadata == {"a": 1}
    assert gallery.enroll(people, "alice", [face(3)], embedder=EMBEDDER).created
    assert [names(gallery, people, vector(number)) for number in (0, 1, 3)] == [["carol"], ["bob"], ["alice"]]
    assert gallery.update_identity(people, "bob", new_name="dave").name == "dave"
    assert gallery.update_identity(people, "alice", new_name="bob").name == "bob"
    assert gallery.update_identity(people, "bob", new_name="alice").name == "alice"
    assert [one.name for one in gallery.identities(people).identities].count("alice") == 1
    assert gallery.check() == []


def test_what_is_deleted_is_gone(gallery: Gallery, people: str) -> None:
    done = gallery.enroll(people, "alice", [face(1, b"\x89PNG"), face(2)], embedder=EMBEDDER, metadata={"a": 1})
    gallery.enroll(people, "bob", [face(3)], embedder=EMBEDDER)
    gallery.delete_face(people, "alice", done.faces[1].face_id)
    assert names(gallery, people, vector(2)) == []
    assert names(gallery, people, vector(1)) == ["alice"]
    assert gallery.delete_identity(people, "alice") == 1
    assert names(gallery, people, vector(1)) == []
    assert names(gallery, people, vector(3)) == ["bob"]
    assert (gallery.collection(people).identities, gallery.collection(people).faces) == (1, 1)
    again = gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    assert again.created
    assert again.faces[0].duplicate_of is None
    assert gallery.identity(people, "alice").metadata == {}
    assert gallery.crop(people, "alice", again.faces[0].face_id) is None
    assert gallery.check() == []


def test_one_renamed_and_deleted_leaves_its_first_name_free(gallery: Gallery, people: str) -> None:
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, metadata={"a": 1})
    gallery.update_identity(people, "alice", new_name="anna")
    gallery.delete_identity(people, "anna")
    assert gallery.enroll(people, "alice", [face(2)], embedder=EMBEDDER).created
    assert gallery.identity(people, "alice").metadata == {}
    with pytest.raises(IdentityNotFoundError):
        gallery.identity(people, "anna")


def test_an_identity_may_be_without_faces(gallery: Gallery, people: str) -> None:
    done = gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    gallery.delete_face(people, "alice", done.faces[0].face_id)
    assert gallery.identity(people, "alice").faces == ()
    assert gallery.delete_identity(people, "alice") == 0


def test_what_is_not_there_is_said_to_be_missing(gallery: Gallery, people: str) -> None:
    done = gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    gallery.enroll(people, "bob", [face(2)], embedder=EMBEDDER)
    face_id = done.faces[0].face_id
    for missing in (gallery.identity, gallery.delete_identity, gallery.update_identity):
        with pytest.raises(IdentityNotFoundError, match="carol"):
            missing(people, "carol")
    for named in (face_id, "ab", "'\"" * 40):
        with pytest.raises(FaceNotFoundError):
            gallery.delete_face(people, "bob", named)
        with pytest.raises(FaceNotFoundError):
            gallery.crop(people, "bob", named)
    with pytest.raises(InvalidNameError):
        gallery.identity(people, "nul\0")
    with pytest.raises(InvalidNameError):
        gallery.collection("../etc")


def test_pages_show_everybody_once(gallery: Gallery, people: str) -> None:
    everybody = {f"p {number}" for number in range(11)}
    for number in range(11):
        gallery.enroll(people, f"p {number}", [face(number)], embedder=EMBEDDER, metadata={"n": number})
    for limit in (3, 11, 1000):
        seen, cursor = [], None
        while True:
            page = gallery.identities(people, cursor=cursor, limit=limit)
            assert len(page.identities) <= limit
            seen += [one.name for one in page.identities]
            assert all(one.metadata == {"n": int(one.name[2:])} for one in page.identities)
            assert all(len(one.faces) == 1 for one in page.identities)
            if (cursor := page.cursor) is None:
                break
            gallery.enroll(people, "p 3", [face(1000 + len(seen))], embedder=EMBEDDER)  # which moves nobody
            gallery.delete_face(people, "p 3", gallery.identity(people, "p 3").faces[-1].face_id)
        assert sorted(seen) == sorted(everybody)


@pytest.mark.parametrize("cursor", ["", "!", "a2Fi", "bWFi", "k1", "é", "A" * 1000])
def test_a_cursor_of_somebody_else_is_refused(gallery: Gallery, people: str, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        gallery.identities(people, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_1_to_1000(gallery: Gallery, people: str, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        gallery.identities(people, limit=limit)


def test_who_has_expired_is_in_no_answer(gallery: Gallery, kind: Kind, people: str) -> None:
    soon = time.time() + (15 if kind.name == "milvus" else 1.5)  # where a read takes 0.2 s
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, expires_at=soon)
    gallery.enroll(people, "bob", [face(2)], embedder=EMBEDDER, expires_at=soon + 3600)
    gallery.enroll(people, "carol", [face(3)], embedder=EMBEDDER)
    gallery.enroll(people, "carol", [face(4)], embedder=EMBEDDER, expires_at=soon)
    assert gallery.update_identity(people, "carol", expires_at=math.inf).expires_at is None
    gallery.enroll(people, "bob", [face(5)], embedder=EMBEDDER)
    assert gallery.identity(people, "bob").expires_at == pytest.approx(soon + 3600)
    while time.time() <= soon:
        time.sleep(0.05)
    other = kind.open()
    for handle in (gallery, other):
        assert names(handle, people, vector(1)) == []
        assert names(handle, people, vector(4)) == ["carol"]
        with pytest.raises(IdentityNotFoundError):
            handle.identity(people, "alice")
        assert {one.name for one in handle.identities(people).identities} == {"bob", "carol"}
        assert (handle.collection(people).identities, handle.collection(people).faces) == (2, 4)
    assert {record.get("identity") for record in gallery.export(people)} == {None, "bob", "carol"}
    again = other.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    assert again.created
    assert again.faces[0].duplicate_of is None
    assert names(gallery, people, vector(1)) == ["alice"]


def test_a_collection_may_give_a_lifetime(gallery: Gallery, people: str) -> None:
    made = gallery.create_collection(f"{people}.ttl", EMBEDDER, DIMENSION, Terms(ttl_s=1000))
    assert made.ttl_s == gallery.collection(made.name).ttl_s == 1000
    gallery.enroll(made.name, "alice", [face(1)], embedder=EMBEDDER)
    first = gallery.identity(made.name, "alice").expires_at
    assert first == pytest.approx(time.time() + 1000, abs=60)
    time.sleep(0.01)
    gallery.enroll(made.name, "alice", [face(1)], embedder=EMBEDDER)
    assert gallery.identity(made.name, "alice").expires_at == first  # no new face
    gallery.enroll(made.name, "alice", [face(2)], embedder=EMBEDDER)
    renewed = gallery.identity(made.name, "alice").expires_at
    assert first is not None
    assert renewed is not None
    assert renewed > first


@pytest.mark.parametrize("moment", [-1.0, math.nan, 1e12])
def test_a_moment_that_is_none_is_refused(gallery: Gallery, people: str, moment: float) -> None:
    with pytest.raises(ValueError, match="expires_at"):
        gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER, expires_at=moment)


# --- collections


def test_collections_are_bound_and_kept_apart(gallery: Gallery, kind: Kind, people: str) -> None:
    similar = [f"{people}{end}" for end in ("_a", ".a", "-a", "__a", "_", ".", "_d", "a", "A")]
    for name in similar:
        assert gallery.create_collection(name, EMBEDDER, DIMENSION).name == name
        gallery.enroll(name, f"of {name}", [face(1)], embedder=EMBEDDER)
    other = kind.open()
    told = {found.name: found for found in other.collections()}
    assert {people, *similar} <= told.keys()
    assert list(told) == sorted(told)
    assert (told[similar[0]].embedder, told[similar[0]].dimension, told[similar[0]].faces) == (EMBEDDER, DIMENSION, 1)
    for name in similar:
        assert names(other, name, vector(1)) == [f"of {name}"]
    with pytest.raises(CollectionExistsError):
        other.create_collection(people, EMBEDDER, DIMENSION)
    assert other.ensure_collection(people, EMBEDDER, DIMENSION) == gallery.collection(people)
    with pytest.raises(ModelMismatchError, match="holds embeddings of model"):
        other.ensure_collection(people, "other", DIMENSION)


def test_a_deleted_collection_may_be_made_again(gallery: Gallery, kind: Kind, people: str) -> None:
    other = kind.open()
    gallery.enroll(people, "alice", [face(1)], embedder=EMBEDDER)
    assert names(other, people, vector(1)) == ["alice"]
    gallery.delete_collection(people)
    for handle in (gallery, other):
        with pytest.raises(CollectionNotFoundError):
            names(handle, people, vector(1))
        with pytest.raises(CollectionNotFoundError):
            handle.delete_collection(people)
        assert people not in {found.name for found in handle.collections()}
    gallery.create_collection(people, "another embedder", DIMENSION)
    with pytest.raises(ModelMismatchError):
        names(other, people, vector(1))
    assert other.enroll(people, "alice", [face(2)], embedder="another embedder").created
    assert gallery.collection(people).faces == 1


def test_what_a_kind_does_not_offer_is_refused_in_words(gallery: Gallery, kind: Kind, people: str) -> None:
    asked = {"mean": [Terms(scoring="mean")], "limits": [Terms(max_identities=1), Terms(max_faces=1)]}
    for what, terms in asked.items():
        for number, term in enumerate(terms):
            name = f"{people}.{what}{number}"
            if what in kind.offers:
                gallery.create_collection(name, EMBEDDER, DIMENSION, term)
                continue
            with pytest.raises(NotOfferedError, match="leave"):
                gallery.create_collection(name, EMBEDDER, DIMENSION, term)
            assert name not in {found.name for found in gallery.collections()}
    if "reembed" not in kind.offers:
        target = Target("new", 4, lambda _: vector(0)[None])
        with pytest.raises(NotOfferedError, match="export"):
            gallery.reembed(people, target, made_by=EMBEDDER)
        with pytest.raises(NotOfferedError, match="export"):
            gallery.survey(people)


def test_a_closed_gallery_says_so(kind: Kind, people: str) -> None:
    handle = kind.open()
    handle.ready()
    handle.close()
    handle.close()
    with pytest.raises(StorageError, match="closed"):
        handle.ready()
    with pytest.raises(StorageError, match="closed"):
        handle.collection(people)
