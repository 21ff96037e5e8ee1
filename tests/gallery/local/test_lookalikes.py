"""One face under two names: who else the faces just enrolled could be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gallery.local.gallery import LocalGallery
from gallery.types import NewFace

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


def near(face: NewFace, amount: float) -> NewFace:
    """Another picture of that face: its embedding turned a little."""
    turned = face.embedding + amount * np.roll(face.embedding, 1)
    sha256 = hashlib.sha256(turned.tobytes()).hexdigest()
    return NewFace(np.divide(turned, np.linalg.norm(turned), dtype=np.float32), sha256)


def enrolled(
    gallery: LocalGallery, name: str, faces: list[NewFace], *, threshold: float = 0.9
) -> list[tuple[str, float]]:
    done = gallery.enroll("people", name, faces, embedder=EMBEDDER)
    found = gallery.lookalikes("people", done, faces, embedder=EMBEDDER, threshold=threshold)
    return [(match.identity, match.similarity) for match in found]


def test_the_same_face_under_another_name_is_told(gallery: LocalGallery, new_face: Faces) -> None:
    assert enrolled(gallery, "alice", [new_face(1), near(new_face(1), 0.1)]) == []
    assert enrolled(gallery, "bob", [new_face(2)]) == []
    [(name, similarity)] = enrolled(gallery, "Alicia", [near(new_face(1), 0.05)])
    assert name == "alice"
    assert 0.99 < similarity <= 1
    assert {name for name, _ in enrolled(gallery, "somebody", [new_face(2), new_face(1)])} >= {"bob"}


def test_somebodys_own_many_faces_hide_nobody(gallery: LocalGallery, new_face: Faces) -> None:
    enrolled(gallery, "bob", [near(new_face(1), 0.2)])
    own = [near(new_face(1), 0.001 * number) for number in range(60)]
    assert [name for name, _ in enrolled(gallery, "alice", own)] == ["bob"]
    assert [name for name, _ in enrolled(gallery, "alice", own)] == ["bob"], "duplicates are compared too"


def test_each_is_told_once_by_the_best_face(gallery: LocalGallery, new_face: Faces) -> None:
    enrolled(gallery, "bob", [new_face(1), new_face(2)])
    asked = [near(new_face(1), 0.3), new_face(2)]
    [(name, similarity)] = enrolled(gallery, "alice", asked)
    assert name == "bob"
    assert similarity == pytest.approx(1, abs=1e-6)


def test_the_line_follows_the_number_of_identities(gallery: LocalGallery, new_face: Faces) -> None:
    counts: list[int] = []

    def line(identities: int) -> float:
        counts.append(identities)
        return 0.9

    for number in range(3):
        faces = [new_face(number)]
        done = gallery.enroll("people", f"p{number}", faces, embedder=EMBEDDER)
        gallery.lookalikes("people", done, faces, embedder=EMBEDDER, threshold=line)
    assert counts == [1, 2, 3]


def test_renamed_or_deleted_meanwhile(gallery: LocalGallery, folder: Path, new_face: Faces) -> None:
    enrolled(gallery, "bob", [new_face(1)])
    faces = [new_face(1)]
    done = gallery.enroll("people", "alice", faces, embedder=EMBEDDER)
    with LocalGallery(folder) as other:
        other.update_identity("people", "alice", new_name="Alice")
        [match] = gallery.lookalikes("people", done, faces, embedder=EMBEDDER, threshold=0.9)
        assert match.identity == "bob"
        other.delete_identity("people", "Alice")
        [match] = gallery.lookalikes("people", done, faces, embedder=EMBEDDER, threshold=0.9)
        assert match.identity == "bob"


@settings(max_examples=40)
@given(
    people=st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.4])), min_size=1, max_size=3)),
    asked=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.4])), min_size=1, max_size=3),
    threshold=st.sampled_from([-1.0, 0.5, 0.95]),
)
def test_as_a_plain_loop_finds_them(
    tmp_path_factory: pytest.TempPathFactory,
    people: list[list[tuple[int, float]]],
    asked: list[tuple[int, float]],
    threshold: float,
) -> None:
    def face(number: int, amount: float) -> NewFace:
        row = np.random.default_rng(number).standard_normal(16).astype(np.float32)
        return near(NewFace(np.divide(row, np.linalg.norm(row), dtype=np.float32), ""), amount)

    with LocalGallery(tmp_path_factory.mktemp("gallery")) as gallery:
        gallery.create_collection("people", EMBEDDER, 16)
        known = {f"p{number}": [face(*one) for one in faces] for number, faces in enumerate(people)}
        for name, faces in known.items():
            gallery.enroll("people", name, faces, embedder=EMBEDDER)
        new = [face(*one) for one in asked]
        found = dict(enrolled(gallery, "new", new, threshold=threshold))
    # Of those as near to a face as its nearest, any may be told: sets are compared by similarity.
    nearest = [
        max((max(float(one.embedding @ each.embedding) for each in faces) for faces in known.values()), default=-2.0)
        for one in new
    ]
    told = [best for best in nearest if best >= threshold + 1e-6]
    if told:
        assert max(found.values()) == pytest.approx(max(told), abs=1e-5)
    for name, similarity in found.items():
        best = max(float(one.embedding @ each.embedding) for one in new for each in known[name])
        assert similarity == pytest.approx(best, abs=1e-5) or similarity <= best + 1e-5
        assert similarity >= threshold
