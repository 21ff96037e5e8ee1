"""The approximate index: it may miss somebody, and must not do anything else wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numpy.typing import NDArray

from gallery.local.index import approximate
from gallery.local.index.approximate import whole
from gallery.local.index.flat import FlatIndex
from tests.gallery.local.index.proposing import ALL, DIMENSION, EVERYTHING, Whole, unit_rows


@pytest.fixture(autouse=True)
def _filters_are_answered_approximately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "_FEW_ROWS", 0)
    monkeypatch.setattr(approximate, "_FEW_OF_ALL", 1000)


@pytest.mark.parametrize("recipe", EVERYTHING)
@pytest.mark.parametrize("top_k", [1, 3, 50])
@pytest.mark.parametrize("threshold", [-1.0, 0.4])
def test_where_all_lists_are_looked_at_the_answer_is_the_exact_one(recipe: str, top_k: int, threshold: float) -> None:
    one = Whole(recipe)
    one.add(range(300))
    one.build()
    for face in range(0, 300, 7):
        one.remove(face)
    one.add(range(300, 330))
    queries, allowed = unit_rows(20, 1000), np.arange(0, 40, 3)
    assert one.search(queries, top_k, threshold) == one.exactly(queries, top_k, threshold)
    assert one.search(queries, top_k, threshold, allowed) == one.exactly(queries, top_k, threshold, allowed)


def test_short_codes_are_made_up_for_by_the_whole_rows() -> None:
    one = Whole("IVF4,PQ8:nprobe=4")
    one.add(range(2000))
    one.build()
    queries = unit_rows(30, 1000)
    truth, found = one.exactly(queries, 1, 0.5), one.search(queries, 1, 0.5)
    assert sum(a == b for a, b in zip(truth, found, strict=True)) >= 28
    for hits, query in zip(found, queries, strict=True):
        one.invents_nothing(hits, query, 0.5)


def test_one_list_of_four_misses_somebody_and_the_test_can_tell() -> None:
    one = Whole("IVF4,Flat:nprobe=1", people=10_000)
    one.add(range(1000))
    one.build()
    queries = unit_rows(50, 1000)
    assert one.search(queries, 5, -1) != one.exactly(queries, 5, -1)


def test_one_with_hundreds_of_faces_does_not_hide_the_next() -> None:
    for recipe in ("IVF4,Flat:nprobe=4", "HNSW8:efSearch=400"):
        one, near = Whole(recipe, people=1), unit_rows(1, 5)[0]
        crowd = near + 0.01 * unit_rows(300, 6)
        crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
        others = unit_rows(20, 7)
        rows, owners = np.concatenate([crowd, others]), [0] * 300 + list(range(1, 21))
        one.index.add(list(range(320)), owners, rows)
        one.known = {face: (owners[face], rows[face]) for face in range(320)}
        one.build()
        found, truth = one.search(near[np.newaxis], 4, -1)[0], one.exactly(near[np.newaxis], 4, -1)[0]
        assert [hit.identity for hit in found] == [hit.identity for hit in truth]


@pytest.mark.parametrize("recipe", ALL)
@pytest.mark.parametrize("allowed", [None, np.arange(0, 40, 2)])
def test_the_removed_are_in_no_answer_however_much_is_asked_for(recipe: str, allowed: NDArray[np.int64] | None) -> None:
    one = Whole(recipe)
    one.add(range(200))
    one.build()
    for face in range(0, 200, 3):
        one.remove(face)
    queries = unit_rows(10, 5000)
    for hits, query in zip(one.search(queries, 200, -1, allowed), queries, strict=True):
        one.invents_nothing(hits, query, -1)
        assert len(hits) > 8
        assert allowed is None or {hit.identity for hit in hits} <= set(allowed.tolist())


class IndexMachine(RuleBasedStateMachine):
    """Any order of calls against a dictionary."""

    @initialize(recipe=st.sampled_from(ALL), faces=st.integers(160, 260))
    def begin(self, recipe: str, faces: int) -> None:
        self.one = Whole(recipe)
        self.one.add(range(faces))
        self.next = faces

    @rule()
    def build(self) -> None:
        self.one.build()

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        self.one.add(range(self.next, self.next + count))
        self.next += count

    @rule(which=st.integers(0, 10_000))
    def add_again(self, which: int) -> None:
        if (face := which % self.next) not in self.one.known:
            self.one.add([face])

    @precondition(lambda self: len(self.one.known) > 100)
    @rule(which=st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
    def remove(self, which: list[int]) -> None:
        for number in which:
            self.one.remove(sorted(self.one.known)[number % len(self.one.known)])

    @rule(
        seed=st.integers(0, 1000),
        top_k=st.sampled_from([1, 3, 8, 45]),
        threshold=st.sampled_from([-1.0, -1.0, 0.2, 0.999]),
        allowed=st.none() | st.lists(st.integers(0, 45), max_size=30),
    )
    def search(self, seed: int, top_k: int, threshold: float, allowed: list[int] | None) -> None:
        queries = unit_rows(3, seed)
        some = None if allowed is None else np.unique(np.array(allowed, np.int64))
        found = self.one.search(queries, top_k, threshold, some)
        for hits, query in zip(found, queries, strict=True):
            self.one.invents_nothing(hits, query, threshold)
            assert allowed is None or {hit.identity for hit in hits} <= set(allowed)
        if str(self.one.recipe) in EVERYTHING:
            assert found == self.one.exactly(queries, top_k, threshold, some)

    @rule()
    def agree(self) -> None:
        assert self.one.index.proposes_all()
        assert {face for face, _, _ in self.one.index.rows()} == set(self.one.known)
        assert len(self.one.index) == len(self.one.known)


IndexMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestIndex = IndexMachine.TestCase


@pytest.mark.parametrize("recipe", ALL)
def test_a_removed_embedding_is_overwritten_in_memory(recipe: str) -> None:
    one = Whole(recipe)
    one.add(range(200))
    one.build()
    proposals = one.index.proposals
    assert proposals
    places = proposals.codes()  # where rows lay when there were 200, the last of each list too
    before = [code.tobytes() for place in places for code in place]
    assert len(set(before)) == 200
    for face in (199, 0, *range(100, 160)):
        one.remove(face)
    after = {code.tobytes() for place in places for code in place}
    assert len(set(before) & after) == 200 - 62
    assert 199 not in one.index
    with pytest.raises(KeyError):
        one.index.remove(0)


def test_kept_rows_become_the_embeddings_they_stand_for() -> None:
    rows = unit_rows(50)
    rows[0] = np.eye(DIMENSION)[0]
    far = np.eye(512, dtype=np.float32)[:3]
    for given in (rows, unit_rows(20, dimension=512), far):
        flat = FlatIndex(given.shape[1])
        flat.add(list(range(len(given))), [0] * len(given), given)
        for faces, _, kept in flat.columns():
            assert np.abs(whole(kept) - given[faces]).max() < 0.02


@pytest.mark.parametrize("recipe", ALL)
def test_its_memory_is_told_about_right(recipe: str) -> None:
    one = Whole(recipe)
    one.add(range(2000))
    one.build()
    assert one.index.proposals
    held = sum(place.nbytes for place in one.index.proposals.codes())
    assert held < one.index.proposals.mib * 2**20 < 2000 * 400
