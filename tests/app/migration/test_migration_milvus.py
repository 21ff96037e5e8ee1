"""Into a Milvus and back, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.migration import migrate
from gallery.local.gallery import LocalGallery
from gallery.milvus.address import parse
from gallery.milvus.gallery import MilvusGallery
from gallery.types import NotOfferedError, Terms
from tests.app.migration.people import DIMENSION, EMBEDDER, face, quiet

pytest.importorskip("milvus_lite")


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[MilvusGallery]:
    with MilvusGallery(parse(f"milvus://{tmp_path}/milvus.db")) as opened:
        yield opened


def test_there_and_back(source: LocalGallery, milvus: MilvusGallery, target: LocalGallery) -> None:
    about = {"whole": 1, "part": 1.0, "nothing": None, "name": "Zoë", "deep": {"list": [1, 2.5, -0.0, 1e300]}}
    source.update_identity("people", "person 3", metadata=about, expires_at=4e9)
    there = migrate(source, milvus, "people", on_progress=quiet)
    assert (there.identities, there.faces, there.same) == (150, 300, True)
    assert migrate(source, milvus, "people", on_progress=quiet).skipped == 300
    back = migrate(milvus, target, "people", on_progress=quiet)
    assert back.same
    assert back.target == there.source
    assert target.identity("people", "person 3") == source.identity("people", "person 3")


def test_a_difference_is_told_by_name(source: LocalGallery, milvus: MilvusGallery) -> None:
    source.create_collection("few", EMBEDDER, DIMENSION)
    for number in range(12):
        source.enroll("few", f"person {number}", [face(number)], embedder=EMBEDDER)
    assert migrate(source, milvus, "few", on_progress=quiet).same
    milvus.update_identity("few", "person 9", metadata={"number": 10})
    done = migrate(source, milvus, "few", on_progress=quiet)
    assert (done.same, done.differing) == (False, ("person 9",))


def test_terms_that_milvus_does_not_offer_are_refused_and_nothing_is_made(
    source: LocalGallery, milvus: MilvusGallery
) -> None:
    source.create_collection("strict", EMBEDDER, DIMENSION, Terms("mean"))
    with pytest.raises(NotOfferedError):
        migrate(source, milvus, "strict", on_progress=quiet)
    assert milvus.collections() == []
