"""Somebody else's whole deed between any two calls to Milvus: what both were answered holds afterwards.

Two deeds at once have two serial orders. Which of them it was may differ from place to place, but it was one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from gallery.milvus import people as people_module
from gallery.milvus.gallery import MilvusGallery
from gallery.types import CollectionExistsError, GalleryError, IdentityExistsError, IdentityNotFoundError
from tests.gallery.contract.conftest import DIMENSION, EMBEDDER, face, names, vector
from tests.gallery.milvus.conftest import Opened
from tests.gallery.milvus.interleaving import (
    FIRST,
    Between,
    Deed,
    Run,
    described,
    enrolled,
    erased,
    face_erased,
    faults,
    renamed,
)

PAIRS: dict[str, tuple[Deed, Deed]] = {
    "two first enrolments": (enrolled("new", 1), enrolled("new", 2)),
    "a first enrolment, a rename to its name": (enrolled("new", 1), renamed("alice", "new")),
    "a rename, a first enrolment under the new name": (renamed("alice", "new"), enrolled("new", 1)),
    "two renames to one name": (renamed("alice", "new"), renamed("carol", "new")),
    "a rename, an enrolment under the old name": (renamed("alice", "new"), enrolled("alice", 1)),
    "an enrolment, a rename": (enrolled("alice", 1), renamed("alice", "new")),
    "an enrolment, an erasure": (enrolled("alice", 1), erased("alice")),
    "an erasure, an enrolment": (erased("alice"), enrolled("alice", 1)),
    "an erasure, an enrolment of the same picture": (erased("alice"), enrolled("alice", FIRST)),
    "a second enrolment, an erasure": (enrolled("alice", FIRST), erased("alice")),
    "an erasure, a rename": (erased("alice"), renamed("alice", "new")),
    "two erasures": (erased("alice"), erased("alice")),
    "a rename, an erasure": (renamed("alice", "new"), erased("alice")),
    "metadata, an erasure": (described("alice"), erased("alice")),
    "an erasure, metadata": (erased("alice"), described("alice")),
    "metadata, a rename": (described("alice"), renamed("alice", "new")),
    "an erasure of a face, its enrolment": (face_erased("alice"), enrolled("alice", FIRST)),
    "an enrolment, an erasure of its face": (enrolled("alice", FIRST), face_erased("alice")),
}
BY_THE_NEW_NAME: dict[str, Deed] = {
    "an enrolment, a rename": enrolled("new", 1),
    "metadata, a rename": described("new"),
    "an erasure, a rename": erased("new"),
    "two erasures": lambda *_: None,
}
"""What the first deed may also come to after the second: it was begun for a person, and is done to that person."""


def attempt(deed: Deed, gallery: MilvusGallery, run: Run) -> str:
    """What it came to."""
    try:
        deed(gallery, run)
    except (IdentityExistsError, IdentityNotFoundError) as error:
        return type(error).__name__
    return "done"


def _note(told: list[str], deed: Callable[[], str]) -> None:
    told.append(deed())


@pytest.mark.parametrize("pair", PAIRS)
def test_two_deeds_at_once_are_one_after_the_other(
    opened: Opened, gallery: MilvusGallery, people: str, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "PATIENCE_S", 0.0)
    (first, second), other = PAIRS[pair], opened()
    serial = set()
    for number in (0, 1):
        run, (one, two) = Run(people, number + 1), (first, second)[:: -1 if number else 1]
        run.begin(gallery)
        outcomes = [attempt(one, gallery, run), attempt(two, gallery, run)]
        serial.add((*outcomes[:: -1 if number else 1], run.state(gallery)))
    if pair in BY_THE_NEW_NAME:
        run = Run(people, 3)
        run.begin(gallery)
        outcomes = [attempt(second, gallery, run), attempt(BY_THE_NEW_NAME[pair], gallery, run)]
        serial.add((*outcomes, run.state(gallery)))
    for number in range(4, 100):
        run, at, theirs = Run(people, number), number - 4, list[str]()
        run.begin(gallery)
        with monkeypatch.context() as patched:
            meanwhile = partial(_note, theirs, partial(attempt, second, other, run))
            between = Between(patched, gallery, meanwhile, at, late=False)
            mine = attempt(first, gallery, run)
        if between.calls <= at:
            break
        assert (mine, *theirs, run.state(gallery)) in serial, at
    assert at >= 3
    assert faults(gallery, people) == []


def test_of_two_who_make_one_collection_one_does(opened: Opened, people: str) -> None:
    gallery, other = opened(), opened()

    def made(handle: MilvusGallery, name: str, embedder: str) -> str:
        try:
            return handle.create_collection(name, embedder, DIMENSION).embedder
        except CollectionExistsError:
            return ""

    for at in range(100):
        name, told = f"{people}.{at}", list[str]()
        with pytest.MonkeyPatch.context() as patched:
            meanwhile = partial(_note, told, partial(made, other, name, "b"))
            between = Between(patched, gallery, meanwhile, at, late=False)
            told.append(made(gallery, name, "a"))
        if between.calls <= at:
            break
        assert sorted(told) in (["", "a"], ["", "b"])
        assert {gallery.collection(name).embedder, other.collection(name).embedder} == set(told) - {""}
        gallery.delete_collection(name)
    assert at >= 3


def test_many_at_once_lose_nobody_and_mislabel_nobody(opened: Opened, gallery: MilvusGallery, people: str) -> None:
    """Four handles enrol the same few people, each with faces of its own, and erase others meanwhile."""
    handles = [gallery, *(opened() for _ in range(3))]

    def work(thread: int) -> dict[int, str]:
        mine, chance = dict[int, str](), random.Random(thread)
        for step in range(12):
            name, number = f"p {chance.randrange(3)}", 1000 * (thread + 1) + step
            handles[thread].enroll(people, name, [face(number)], embedder=EMBEDDER)
            mine[number] = name
            if not step % 5:
                handles[thread].enroll(people, f"own {thread}", [face(number + 500)], embedder=EMBEDDER)
                assert handles[thread].delete_identity(people, f"own {thread}") == 1
        return mine

    with ThreadPoolExecutor(4) as threads:
        everything = {number: name for mine in threads.map(work, range(4)) for number, name in mine.items()}
    queries = {number: names(gallery, people, vector(number)) for number in everything}
    assert queries == {number: [name] for number, name in everything.items()}
    assert {one.name for one in gallery.identities(people).identities} == set(everything.values())
    assert gallery.collection(people).faces == len(everything)
    assert faults(gallery, people) == []


def test_an_error_of_milvus_is_ours_and_names_where_it_is(gallery: MilvusGallery) -> None:
    with pytest.raises(GalleryError, match=r"Milvus at milvus://127\.0\.0\.1"):
        gallery._connection.count("faceserve_f_nowhere")
