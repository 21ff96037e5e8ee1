"""The search of probes against the same done slowly, and what counts where something is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.identification import search as module
from app.evaluation.identification.search import search
from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification.pairs import Sample
from tests.app.evaluation.made_up import embedded, sample

UP, RIGHT, LEFT = (0.0, 1.0), (1.0, 0.0), (-1.0, 0.0)
VECTORS = st.sampled_from([None, UP, RIGHT, LEFT, (0.6, 0.8), (0.8, 0.6), (-0.6, 0.8)])
FACES = st.lists(st.tuples(st.sampled_from("abcd"), VECTORS), min_size=1, max_size=8)


def test_an_identity_is_as_similar_as_the_best_of_its_faces() -> None:
    gallery = sample(("alice", UP), ("alice", RIGHT), ("bob", (0.6, 0.8)))
    found = search(gallery, sample(("alice", RIGHT), ("bob", UP)))
    assert found.mate == pytest.approx([1, 0.8])
    assert found.other == pytest.approx([0.6, 1])
    assert found.rank.tolist() == [1, 2]
    assert [found.identities[place] for place in found.best] == ["bob", "alice"]


def test_who_is_just_as_similar_stands_before() -> None:
    found = search(sample(("alice", UP), ("bob", UP)), sample(("alice", UP), ("bob", UP)))
    assert found.rank.tolist() == [2, 2]


def test_what_is_missing() -> None:
    gallery = sample(("alice", UP), ("bob", None))
    found = search(gallery, sample(("alice", None), ("bob", UP), ("carol", UP), ("alice", UP)))
    assert found.identities == ("alice", "bob")
    assert found.enrolled.tolist() == [True, False]
    assert found.mated.tolist() == [True, True, False, True]
    assert found.rank.tolist() == [0, 0, 0, 1]
    assert found.mate.tolist() == [-1, -1, -1, 1]
    assert found.other.tolist() == [-1, 1, 1, -1]
    assert found.best.tolist() == [-1, 0, 0, -1]


def slowly(gallery: Sample, probes: Sample, row: int) -> tuple[float, float, int]:
    """mate, other and rank of one probe, by the words of the docstring."""
    if not probes.embedded.found[row]:
        return -1, -1, 0
    similar: dict[str | None, float] = {}
    for photo, found, face in zip(gallery.photos, gallery.embedded.found, gallery.embedded.embeddings, strict=True):
        if found:
            cosine = float(face @ probes.embedded.embeddings[row])
            similar[photo.person] = max(similar.get(photo.person, -1), cosine)
    own = probes.photos[row].person
    others = [cosine for person, cosine in similar.items() if person != own]
    rank = 1 + sum(cosine >= similar[own] for cosine in others) if own in similar else 0
    return similar.get(own, -1), max(others, default=-1), rank


@given(FACES, FACES, st.integers(1, 3))
def test_as_searched_one_by_one(gallery_rows: list[tuple[str, object]], probe_rows: list[object], at_once: int) -> None:
    gallery, probes = sample(*gallery_rows), sample(*probe_rows)  # type: ignore[arg-type]
    if not gallery.embedded.found.any():
        with pytest.raises(EvaluationError, match="nobody to find"):
            search(gallery, probes)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PROBES_AT_ONCE", at_once)
        found = search(gallery, probes)
    for row in range(len(probes.photos)):
        mate, other, rank = slowly(gallery, probes, row)
        assert found.mate[row] == pytest.approx(mate, abs=1e-6)
        assert found.other[row] == pytest.approx(other, abs=1e-6)
        assert found.rank[row] == rank


def test_photos_of_unknown_people_are_refused() -> None:
    nameless = Sample((Photo("x", None, b""),), embedded([UP]))
    with pytest.raises(EvaluationError, match="the probes must say whom"):
        search(sample(("alice", UP)), nameless)
    assert np.array(nameless.embedded.found).all()
