"""A collection carried over to another embedder: all at once, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import (
    Idempotency,
    InvalidEmbeddingError,
    NewFace,
    ReembedRefusedError,
    StorageError,
)
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, crop, embedded, face, target, vector
from tests.gallery.local.people import FACES, enroll, found, peopled, requires

Embed = Callable[[Sequence[bytes]], NDArray[np.float32]]


@pytest.fixture
def gallery(folder: Path) -> Iterator[LocalGallery]:
    with peopled(folder) as opened:
        yield opened


def test_everything_stays_but_the_embeddings(gallery: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:
        requires(other, OLD, range(FACES))
        before, created = gallery.identities("people"), gallery.collection("people").created_at
        heard: list[tuple[int, int]] = []
        aim = replace(target(), on_progress=lambda done, of: heard.append((done, of)))
        done = gallery.reembed("people", aim, made_by=OLD)
        assert (done.faces, done.dropped) == (FACES, 0)
        assert heard == [(0, FACES), (4, FACES), (8, FACES), (FACES, FACES)]
        for each in (gallery, other):
            requires(each, NEW, range(FACES))
            assert each.identities("people") == before
            about = each.collection("people")
            assert (about.embedder, about.dimension, about.created_at) == (NEW, DIMENSIONS[NEW], created)
        face_id = before.identities[3].faces[0].face_id
        assert gallery.crop("people", "person 3", face_id) == crop(3)
        enroll(other, 99, NEW)
        requires(gallery, NEW, [99, 3])


def test_there_and_back_a_handle_that_looked_away_follows(gallery: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:
        requires(other, OLD, range(FACES))
        gallery.reembed("people", target(), made_by=OLD)
        gallery.reembed("people", replace(target(OLD), embed=lambda pngs: -embedded(pngs, OLD)), made_by=NEW)
        assert found(other, 3, OLD) == []
        query = -vector(3, OLD)[np.newaxis]
        (matches,) = other.search("people", query, embedder=OLD, top_k=1, threshold=0.999)
        assert [match.identity for match in matches] == ["person 3"]
        assert other.check() == []


def test_faces_without_a_crop_are_named_and_nothing_is_done(gallery: LocalGallery) -> None:
    for number in range(20, 28):
        enroll(gallery, number, with_crop=False)
    survey = gallery.survey("people")
    assert (survey.without_crop, len(survey.named), survey.crop_sizes) == (8, 5, {(112, 96): FACES})
    with pytest.raises(ReembedRefusedError, match=r"8 faces .*person 20, person 21"):
        gallery.reembed("people", target(), made_by=OLD)
    requires(gallery, OLD, [*range(FACES), *range(20, 28)])


def test_dropped_faces_are_erased_and_their_identities_stay(gallery: LocalGallery, folder: Path) -> None:
    once = Idempotency("key", "f", lambda done: done.faces[0].face_id.encode())
    bare = face(20, with_crop=False)
    answer = gallery.enroll_once("people", "person 20", [bare, face(21)], embedder=OLD, idempotency=once).decode()
    done = gallery.reembed("people", target(), made_by=OLD, drop_without_crop=True)
    assert (done.faces, done.dropped) == (FACES + 1, 1)
    assert gallery.identity("people", "person 20").faces[0].face_id != answer
    assert gallery.recall("people", "key", "f") is None
    for gone in (vector(20, OLD).tobytes(), bytes.fromhex(answer)):
        assert not any(gone in path.read_bytes() for path in folder.iterdir())
    assert found(gallery, 21, NEW) == ["person 20"]
    assert gallery.check() == []


def test_a_collection_without_faces_is_bound_without_embedding(gallery: LocalGallery) -> None:
    gallery.create_collection("empty", OLD, 16)
    assert gallery.reembed("empty", target(), made_by=OLD).faces == 0
    assert gallery.collection("empty").embedder == NEW
    requires(gallery, OLD, range(FACES))


@pytest.mark.parametrize(
    ("embed", "error"),
    [
        (lambda pngs: embedded(pngs)[1:], ValueError),
        (lambda pngs: embedded(pngs, OLD), InvalidEmbeddingError),
        (lambda pngs: 2 * embedded(pngs), InvalidEmbeddingError),
        (lambda pngs: embedded(pngs).astype(np.float64), InvalidEmbeddingError),
    ],
)
def test_what_is_no_embedding_is_refused(gallery: LocalGallery, embed: Embed, error: type[Exception]) -> None:
    with pytest.raises(error):
        gallery.reembed("people", replace(target(), embed=embed), made_by=OLD)
    requires(gallery, OLD, range(FACES))


def test_a_database_of_before_is_opened_and_one_that_is_closed_is_not(gallery: LocalGallery, folder: Path) -> None:
    with gallery._store.write() as connection:
        connection.execute("DROP TABLE reembedded")
    with LocalGallery(folder) as newer:
        newer.reembed("people", target(), made_by=OLD)
        requires(newer, NEW, range(FACES))
    gallery.close()
    with pytest.raises(StorageError):
        gallery.survey("people")


def test_a_survey_counts_what_is_no_png(gallery: LocalGallery) -> None:
    odd = NewFace(vector(70, OLD), "ab" * 32, {}, b"GIF89a")
    gallery.enroll("people", "odd", [odd], embedder=OLD)
    assert gallery.survey("people").crop_sizes == {(112, 96): FACES, (0, 0): 1}
