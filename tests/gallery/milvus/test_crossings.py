"""Cut short at every call to Milvus: asked again, all is as if nothing had happened.

A deed that is cut short does nothing more, so that after one call is before the next. With FACESERVE_TEST_CRASHES set
each is cut before every call as well.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from gallery.milvus.connection import AwayError
from gallery.milvus.gallery import MilvusGallery
from gallery.types import CollectionNotFoundError, FaceNotFoundError, IdentityNotFoundError
from tests.gallery.contract.conftest import DIMENSION, EMBEDDER, face
from tests.gallery.milvus.conftest import Opened
from tests.gallery.milvus.interleaving import (
    FIRST,
    Between,
    Deed,
    Run,
    described,
    enrolled,
    enrolled_once,
    erased,
    face_erased,
    fail,
    faults,
    renamed,
)

CUTS = [
    (at, late) for at in range(200) for late in ((False, True) if "FACESERVE_TEST_CRASHES" in os.environ else (True,))
]
DEEDS = {
    "first enrolment": enrolled("bob", 1),
    "enrolment": enrolled("alice", 1),
    "first enrolment once": enrolled_once("bob", 1),
    "rename": renamed("alice", "bob"),
    "metadata": described("alice"),
    "erasure": erased("alice"),
    "erasure of a face": face_erased("alice"),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS.keys())
def test_cut_short_anywhere_and_asked_again(
    gallery: MilvusGallery, people: str, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cuts = Run(people, 1), 0
    whole.begin(gallery)
    deed(gallery, whole)
    expected = whole.state(gallery)
    for number, (at, late) in enumerate(CUTS, 2):
        run = Run(people, number)
        run.begin(gallery)
        with monkeypatch.context() as patched:
            between = Between(patched, gallery, fail, at, late=late)
            with suppress(AwayError):
                deed(gallery, run)
        if between.calls <= at:
            break
        cuts += 1
        # A client that has had no answer asks once more. That it is done already is an answer too.
        with suppress(IdentityNotFoundError, FaceNotFoundError):
            deed(gallery, run)
        assert run.state(gallery) == expected, (at, late)
    assert cuts >= 4
    assert faults(gallery, people) == []


def test_a_collection_half_made_or_half_deleted_is_not_there(opened: Opened, people: str) -> None:
    gallery = opened()
    for deed in (_made, _deleted):
        for number, (at, late) in enumerate(CUTS):
            name = f"{people}.{deed.__name__}{number}"
            if deed is _deleted:
                _made(gallery, name)
                gallery.enroll(name, "alice", [face(FIRST)], embedder=EMBEDDER)
            with pytest.MonkeyPatch.context() as patched:
                between = Between(patched, gallery, fail, at, late=late)
                with suppress(AwayError):
                    deed(gallery, name)
                    assert between.calls <= at, "it went on as if nothing had happened"
            is_there = name in {found.name for found in gallery.collections()}
            with suppress(CollectionNotFoundError):
                assert is_there == (gallery.collection(name).name == name)
            if is_there and deed is _deleted:
                gallery.delete_collection(name)
            gallery.ensure_collection(name, EMBEDDER, DIMENSION)
            assert gallery.collection(name).faces == gallery.collection(name).identities == 0
            gallery.delete_collection(name)
            if between.calls <= at:
                break
        assert number >= 4


def _made(gallery: MilvusGallery, name: str) -> None:
    gallery.create_collection(name, EMBEDDER, DIMENSION)


def _deleted(gallery: MilvusGallery, name: str) -> None:
    gallery.delete_collection(name)


def test_what_a_cut_left_without_an_owner_is_named(gallery: MilvusGallery, people: str) -> None:
    before = set(gallery.check())
    with pytest.MonkeyPatch.context() as patched:
        Between(patched, gallery, fail, 4, late=True)
        with pytest.raises(AwayError):
            gallery.create_collection(f"{people}.cut", EMBEDDER, DIMENSION)
    left = set(gallery.check()) - before
    assert left
    for line in left:
        assert line.endswith("belongs to no collection: making one was cut short; drop it")
        gallery._connection.drop(line.split()[0])
    assert set(gallery.check()) == before
