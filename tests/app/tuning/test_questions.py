"""Whom a measurement looks for: nobody who is still there."""

from __future__ import annotations

import numpy as np
import pytest

from app.tuning.questions import ASSUMED_SIMILARITY, perturbed, questions
from gallery.local.rows import Rows


def crowd(people: int, faces: int, dimension: int = 32) -> Rows:
    """Faces of one person are at a cosine of about 0.8."""
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.standard_normal((people, dimension)), faces, axis=0)
    rows = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = rows + 0.5 * rng.standard_normal(rows.shape) / dimension**0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = people * faces
    return Rows(np.arange(1, count + 1), np.repeat(np.arange(people), faces), rows.astype(np.float32))


def test_a_face_is_left_out_of_those_who_have_more() -> None:
    rows = crowd(400, 3)
    asked = questions(rows, 100)
    assert (asked.made, asked.similarity) == ("left out", None)
    assert len(asked.queries) == 100
    assert len(asked.among) == 1100
    there = {embedding.tobytes() for embedding in asked.among.embeddings}
    owner = {
        embedding.tobytes(): identity for embedding, identity in zip(rows.embeddings, rows.identities, strict=True)
    }
    asked_for = [owner[query.tobytes()] for query in asked.queries]
    assert not any(query.tobytes() in there for query in asked.queries)
    assert len(set(asked_for)) == 100
    assert set(asked_for) <= set(asked.among.identities.tolist())
    assert "left out" in asked.told()


def test_where_few_have_several_faces_rows_are_perturbed_to_the_similarity_of_their_pairs() -> None:
    several, one = crowd(40, 2), crowd(960, 1)
    rows = Rows(
        np.arange(1040),
        np.concatenate([several.identities, 1000 + one.identities]),
        np.concatenate([several.embeddings, one.embeddings]),
    )
    asked = questions(rows, 100)
    pairs = (several.embeddings[::2] * several.embeddings[1::2]).sum(axis=1)
    assert asked.made == "perturbed"
    assert asked.similarity == pytest.approx(np.median(pairs), abs=1e-6)
    assert not asked.is_assumed
    assert len(asked.among) == 1040


def test_without_any_pair_the_similarity_is_assumed_and_said_so() -> None:
    asked = questions(crowd(500, 1), 1000)
    assert (asked.made, asked.similarity, asked.is_assumed) == ("perturbed", ASSUMED_SIMILARITY, True)
    assert len(asked.queries) == 50
    assert "0.60 with itself (assumed)" in asked.told()
    assert questions(crowd(400, 3), 100, similarity=0.7).similarity == 0.7
    with pytest.raises(ValueError, match="empty"):
        questions(Rows(np.arange(0), np.arange(0), np.empty((0, 4), np.float32)), 10)


@pytest.mark.parametrize("similarity", [0.1, 0.6, 0.99])
def test_the_perturbed_are_at_that_cosine(similarity: float) -> None:
    rows = crowd(50, 1).embeddings
    found = perturbed(rows, similarity, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert (found * rows).sum(axis=1) == pytest.approx(similarity, abs=1e-5)
