"""How an approximate index is made, brought up, handed on, and made anew."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from gallery.local.index import approximate
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.building import built
from gallery.local.index.flat import FlatIndex
from gallery.local.index.proposals import GivenUpError
from tests.gallery.local.index.proposing import DIMENSION, Whole, unit_rows


def test_many_new_faces_at_once_are_answered_exactly_until_they_are_let_in() -> None:
    one = Whole("HNSW8:efSearch=16", people=10_000)
    one.add(range(300))
    one.build()
    one.add(range(300, 302 + approximate.AT_ONCE))
    assert one.index.proposals is None
    queries = unit_rows(20, 5)
    assert one.search(queries, 3, -1) == one.exactly(queries, 3, -1)
    one.remove(5)
    draft = built(one.index, nullcontext, lambda: True)
    one.remove(700)
    assert one.index.take(draft)
    assert one.index.proposes_all()
    assert draft.trained_for == 300  # the same index, not one made anew


def test_emptied_it_goes_on() -> None:
    one = Whole("IVF4,Flat:nprobe=4")
    one.add(range(200))
    one.build()
    for face in range(200):
        one.remove(face)
    assert one.search(unit_rows(2), 5, -1) == [[], []]
    one.add([300])
    assert one.index.proposes_all()
    assert [[hit.face for hit in hits] for hits in one.search(unit_rows(2), 5, -1)] == [[300], [300]]


def test_what_changes_while_it_is_made_is_made_up_for() -> None:
    one = Whole("IVF4,Flat:nprobe=4")
    one.add(range(300))
    draft = built(one.index, nullcontext, lambda: True)
    for face in range(100):
        one.remove(face)
    one.add(range(1000, 1100))
    assert one.index.take(draft)
    assert one.index.proposes_all()
    assert one.search(unit_rows(20, 3), 5, -1) == one.exactly(unit_rows(20, 3), 5, -1)


def test_proposals_go_over_to_a_newer_index_of_the_same_rows_alone() -> None:
    one = Whole("HNSW8")
    one.add(range(200))
    one.build()
    newer = Whole("HNSW8")
    newer.add(range(20, 230))
    newer.index.inherit(one.index)
    assert newer.index.proposals
    assert newer.index.proposes_all()
    other = ApproximateIndex(FlatIndex(DIMENSION), one.recipe, DIMENSION, "others")
    other.inherit(newer.index)
    assert other.proposals is None


def test_it_is_made_when_it_is_worth_while_and_made_anew_when_outgrown_or_full_of_holes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gallery.local.index.recipe.LEAST_ROWS", 200)
    one = Whole("HNSW8")
    one.add(range(199))
    assert not one.wants_building()
    one.add([199])
    assert one.wants_building()
    one.build()
    assert not one.wants_building()
    one.add(range(200, 230))
    for face in range(28):
        one.remove(face)
    assert not one.wants_building()
    one.remove(28)
    assert one.wants_building()
    one.build()
    assert not one.wants_building()
    one.add(range(1000, 1201))
    assert not one.wants_building()
    one.add(range(2000, 2002))
    assert one.wants_building()


def test_making_it_is_given_up_when_nobody_wants_it() -> None:
    one = Whole("IVF4,Flat")
    one.add(range(300))
    with pytest.raises(GivenUpError):
        built(one.index, nullcontext, lambda: False)


def test_a_sample_is_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gallery.local.index.flat.SEGMENT_ROWS", 50)
    one = Whole("HNSW8")
    one.add(range(230))
    for count in (10, 230, 1000):
        sample = one.index.sample(count)
        assert sample.shape == (min(count, 230), DIMENSION)
        nearest = np.abs(sample[:, np.newaxis] - np.concatenate([row[np.newaxis] for _, row in one.known.values()]))
        assert nearest.max(axis=2).min(axis=1).max() < 0.02
        assert len(np.unique(sample, axis=0)) == len(sample)
