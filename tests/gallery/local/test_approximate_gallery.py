"""A gallery with an approximate index: made in the background, in step in every process, gone where it must be."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from gallery.local import snapshots
from gallery.local.gallery import LocalGallery
from gallery.local.index import approximate, recipe
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.proposals import Proposals
from gallery.local.index.recipe import RecipeError
from gallery.types import NewFace, Target, Terms
from tests.gallery.local.test_stateful import HANDLES, GalleryMachine

if TYPE_CHECKING:
    from tests.gallery.local.conftest import Worker

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "LEAST_ROWS", 50)


@pytest.fixture
def opened(folder: Path) -> Iterator[LocalGallery]:
    with LocalGallery(folder, index="HNSW8:efSearch=64") as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        yield gallery


def enroll(gallery: LocalGallery, new_face: Faces, numbers: range) -> None:
    for number in numbers:
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)


def proposals(gallery: LocalGallery, name: str = "people") -> Proposals | None:
    with gallery._projections.current(name) as view:
        assert isinstance(view.index.flat, ApproximateIndex)
        return view.index.flat.proposals


def wait_for(gallery: LocalGallery, name: str = "people") -> Proposals:
    end = time.monotonic() + PATIENCE_S
    while (found := proposals(gallery, name)) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_small_collections_stay_exact(opened: LocalGallery, new_face: Faces) -> None:
    enroll(opened, new_face, range(49))
    time.sleep(0.05)
    assert proposals(opened) is None
    enroll(opened, new_face, range(49, 50))
    wait_for(opened)


def test_whoever_is_enrolled_is_found_next_and_whoever_is_erased_is_not(
    opened: LocalGallery, new_face: Faces, names: Callable[..., list[str]]
) -> None:
    enroll(opened, new_face, range(60))
    wait_for(opened)
    for number in range(100, 130):
        enroll(opened, new_face, range(number, number + 1))
        assert names(opened, new_face(number).embedding) == [f"person {number}"]
        if number % 3 == 0:
            opened.delete_identity("people", f"person {number}")
            assert names(opened, new_face(number).embedding) == []
    assert proposals(opened)
    assert opened.check() == []


def test_an_erased_embedding_is_in_no_file_and_not_in_the_index(
    opened: LocalGallery, folder: Path, new_face: Faces
) -> None:
    enroll(opened, new_face, range(80))
    held, secret, other = wait_for(opened), new_face(7).embedding, new_face(8).embedding
    with opened._projections.current("people") as view:
        coded = {face: embedding for face, _, embedding in view.index.flat.rows()}
        row = approximate.whole(coded[8][np.newaxis])  # the second is the first enrolled's key: keys begin at 1
    assert row[0].tobytes() in held.codes()[0].tobytes()
    opened.delete_identity("people", "person 7")
    assert proposals(opened) is held
    assert row[0].tobytes() not in held.codes()[0].tobytes()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".db", ".db-wal", ".db-shm", ""}
    everything = b"".join(path.read_bytes() for path in files)
    assert other.tobytes() in everything
    for bytes_ in (secret.tobytes(), row.tobytes(), secret.astype(np.float16).tobytes(), coded[8].tobytes()):
        assert bytes_ not in everything


def test_a_snapshot_brings_new_rows_and_keeps_the_index(
    opened: LocalGallery, new_face: Faces, names: Callable[..., list[str]]
) -> None:
    enroll(opened, new_face, range(60))
    held = wait_for(opened)
    enroll(opened, new_face, range(60, 65))
    assert snapshots.write(opened._store, "people")
    opened.delete_identity("people", "person 7")
    opened._projections._adopt("people")
    with opened._projections.current("people") as view:
        assert opened._projections._of["people"].snapshot_at is not None
        assert isinstance(view.index.flat, ApproximateIndex)
        assert view.index.flat.proposals is held
    assert [names(opened, new_face(number).embedding) for number in (7, 64)] == [[], ["person 64"]]
    assert opened.check() == []


def test_a_collection_of_means_has_one_too(folder: Path, new_face: Faces) -> None:
    with LocalGallery(folder, index="IVF2,Flat:nprobe=2") as gallery:
        gallery.create_collection("people", EMBEDDER, 16, Terms("mean"))
        for number in range(100):
            faces = [new_face(number), new_face(1000 + number)]
            gallery.enroll("people", f"person {number}", faces, embedder=EMBEDDER)
        wait_for(gallery, "people/templates")
        gallery.delete_identity("people", "person 3")
        query = new_face(3).embedding[np.newaxis]
        (found,) = gallery.search("people", query, embedder=EMBEDDER, top_k=100, threshold=-1)
        assert len(found) == 99
        assert gallery.check() == []


def test_another_embedder_makes_another_index(opened: LocalGallery, new_face: Faces) -> None:
    for number in range(60):
        face = new_face(number)
        with_crop = NewFace(face.embedding, face.source_sha256, crop_png=b"%d" % number)
        opened.enroll("people", f"person {number}", [with_crop], embedder=EMBEDDER)
    old = wait_for(opened)
    target = Target("other", 16, lambda pngs: np.stack([new_face(5000 + int(png)).embedding for png in pngs]))
    opened.reembed("people", target, made_by=EMBEDDER)
    query = new_face(5007).embedding[np.newaxis]
    found = opened.search("people", query, embedder="other", top_k=1, threshold=0.99)
    assert [match.identity for match in found[0]] == ["person 7"]
    assert wait_for(opened) is not old
    assert opened.search("people", query, embedder="other", top_k=1, threshold=0.99) == found


def test_a_dimension_that_cannot_be_cut_is_searched_exactly(
    folder: Path, new_face: Faces, names: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    with LocalGallery(folder, index="IVF2,PQ3") as gallery, caplog.at_level(logging.WARNING):
        gallery.create_collection("people", EMBEDDER, 16)
        enroll(gallery, new_face, range(60))
        assert names(gallery, new_face(5).embedding) == ["person 5"]
    assert "searched exactly" in caplog.text


def test_nonsense_is_refused_before_anything_is_made(folder: Path) -> None:
    with pytest.raises(RecipeError):
        LocalGallery(folder, index="IVF9000")
    assert not folder.exists()


def test_what_one_process_did_the_other_answers_next(folder: Path, worker: Callable[..., Worker]) -> None:
    pair = [worker(str(folder), "serve", "HNSW8:efSearch=64") for _ in range(2)]
    assert [json.loads(each.line()) for each in pair] == ["ready", "ready"]
    for number in range(60):
        pair[0].ask(do="enroll", identity=f"person {number}", number=number)
    end = time.monotonic() + PATIENCE_S
    while not all(each.ask(do="proposed") for each in pair):
        assert time.monotonic() < end
        time.sleep(0.01)
    for number in range(60, 90):
        one, other = pair[number % 2], pair[1 - number % 2]
        one.ask(do="enroll", identity=f"person {number}", number=number)
        assert other.ask(do="search", number=number) == [f"person {number}"]
        if number % 2:
            one.ask(do="delete", identity=f"person {number}")
            assert other.ask(do="search", number=number) == []
    assert [each.ask(do="proposed") for each in pair] == [75, 75]
    assert [each.ask(do="check") for each in pair] == [[], []]


class ApproximateMachine(GalleryMachine):
    """With all lists looked at, the answers are those of the plain gallery, whatever is made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.patch.setattr(recipe, "LEAST_ROWS", 3)
        self.patch.setattr(recipe, "_POINTS_A_CENTROID", 1)
        self.patch.setattr(approximate, "AT_ONCE", 2)

    def opened(self) -> LocalGallery:
        return LocalGallery(self.folder, keep_changes=4, index="IVF2,Flat:nprobe=2")

    @rule(handle=HANDLES)
    def wait(self, handle: int) -> None:
        builder, end = self.handles[handle]._projections._builder, time.monotonic() + PATIENCE_S
        while len(builder._wishes):
            assert time.monotonic() < end
            time.sleep(0.001)


ApproximateMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
TestGalleryOfLists = ApproximateMachine.TestCase
