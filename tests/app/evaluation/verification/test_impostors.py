"""All pairs of different people against the slow, obvious way: two loops over the photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.evaluation.bootstrap import draws
from app.evaluation.photos import Photo
from app.evaluation.verification import impostors as module
from app.evaluation.verification.impostors import GRID, Impostors
from tests.app.evaluation.verification.made import embedded_of, faces, photos_of


@pytest.fixture(params=[1, 40, 2**22])
def cells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row, of a few, and one block for all."""
    monkeypatch.setattr(module, "CELLS", request.param)


def made(counts: list[int], seed: int = 0) -> Impostors:
    found = Impostors.of(photos_of(counts), embedded_of(faces(counts, 0.5, 4, seed)))
    assert found is not None
    return found


def slowly(impostors: Impostors, threshold: float, weights: NDArray[np.float32] | None = None) -> tuple[float, float]:
    """The weight of the pairs that pass, and of all."""
    weigh = np.ones(impostors.people) if weights is None else weights
    passed = total = 0.0
    for i in range(len(impostors.person)):
        for j in range(i):
            a, b = impostors.person[i], impostors.person[j]
            if a != b:
                total += weigh[a] * weigh[b]
                cosine = float((impostors.embeddings[i : i + 1] @ impostors.embeddings[j : j + 1].T)[0, 0])
                passed += weigh[a] * weigh[b] * (np.clip(cosine, -1, 1) >= threshold)
    return passed, total


COUNTS = [1, 3, 2, 1, 5, 1, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 4))
def test_the_first_photos_of_each_are_kept(shown: list[int], most: int) -> None:
    photos = [Photo(f"{place}", f"person {who}", b"") for place, who in enumerate(shown)]
    kept = Impostors.of(photos, embedded_of(np.eye(len(shown))), most)
    assert kept is not None
    expected = [place for place, who in enumerate(shown) if shown[:place].count(who) < most]
    assert sorted(kept.embeddings.argmax(axis=1).tolist()) == expected
    assert np.max(np.bincount(kept.person)) <= most


def test_a_photo_without_a_face_is_not_one_of_the_first() -> None:
    photos = photos_of([3])
    kept = Impostors.of(photos, embedded_of(np.eye(3, dtype=np.float32), np.array([False, True, True])), 1)
    assert kept is not None
    np.testing.assert_array_equal(kept.embeddings, [[0, 1, 0]])


@pytest.mark.usefixtures("cells")
def test_the_counts_are_those_of_brute_force() -> None:
    impostors = made(COUNTS)
    passing = impostors.passing()
    assert impostors.pairs == passing[0] == slowly(impostors, -1)[1]
    # Thresholds that no cosine is a last bit away from.
    for place in range(50, len(GRID), 997):
        assert passing[place] == slowly(impostors, GRID[place])[0]


@pytest.mark.usefixtures("cells")
def test_the_replicates_are_those_of_brute_force() -> None:
    impostors = made(COUNTS)
    thresholds = [-0.3, 0.1, 0.4, 0.8]
    found = impostors.resampled(thresholds, 5)
    weights = next(draws(impostors.people, 5))
    for row, threshold in zip(found, thresholds, strict=True):
        slow = [slowly(impostors, threshold, column) for column in weights.T]
        assert row == pytest.approx([passed / total for passed, total in slow])


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=8), st.integers(0, 100))
def test_with_all_weights_one_the_replicates_are_the_figure(counts: list[int], seed: int) -> None:
    impostors = made(counts, seed)
    thresholds = GRID[[8000, 10_000, 12_000, 15_000]].tolist()
    passed = np.zeros((len(thresholds), 1))
    for kept in impostors._kept(np.array(thresholds)):
        module._add(kept, np.ones((impostors.people, 1), np.float32), passed)
    expected = impostors.passing()[[8000, 10_000, 12_000, 15_000]]
    assert np.cumsum(passed[::-1])[::-1] == pytest.approx(expected)
    assert impostors._pairs(np.ones((impostors.people, 1), np.float32))[0] == impostors.pairs


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_the_order_of_the_photos_changes_nothing(seed: int) -> None:
    photos, vectors = photos_of(COUNTS), faces(COUNTS, 0.5, 8)
    order = np.random.default_rng(seed).permutation(len(photos))
    one = Impostors.of(photos, embedded_of(vectors))
    other = Impostors.of([photos[place] for place in order], embedded_of(vectors[order]))
    assert one is not None
    assert other is not None
    assert one.pairs == other.pairs
    assert np.abs(one.passing() - other.passing()).max() <= 1  # a cosine's last bit may fall on the other side
    assert np.allclose(one.resampled([0.01234], 20), other.resampled([0.01234], 20))


def test_cosines_at_a_threshold_pass_it() -> None:
    """0.28, 0.8 and 1 as float32: the first is a little above 0.28, the second too, the last is 1 itself."""
    impostors = Impostors(np.array([[1, 0], [0.28, 0.96], [1, 0]], np.float32), np.arange(3))
    passing = impostors.passing()
    assert float(np.float32(0.28)) >= 0.28
    assert [passing[np.searchsorted(GRID, t)] for t in (0.2799, 0.28, 0.2801, 0.9999, 1.0)] == [3, 3, 1, 1, 1]


def test_cosines_at_a_threshold_are_drawn_with_it() -> None:
    """Two equal photos and one at 0.5 from both: at 0.5 all three pairs, at 1 the one."""
    half = np.sqrt(0.75)
    impostors = Impostors(np.array([[1, 0], [0.5, half], [1, 0]], np.float32), np.arange(3))
    found = impostors.resampled([0.5, 1.0], 20)
    for column, drawn in zip(found.T, next(draws(3, 20)).T, strict=True):
        total = drawn[0] * drawn[1] + drawn[0] * drawn[2] + drawn[1] * drawn[2]
        if total:
            assert column == pytest.approx([1, drawn[0] * drawn[2] / total])
        else:
            assert np.isnan(column).all()


def test_a_float32_below_a_threshold_does_not_pass_it() -> None:
    below = next(k / 10_000 for k in range(1, 10_000) if float(np.float32(k / 10_000)) < k / 10_000)
    impostors = Impostors(np.array([[1], [below]], np.float32), np.arange(2))
    place = int(np.searchsorted(GRID, below))
    assert impostors.passing()[[place - 1, place]].tolist() == [1, 0]


def test_every_cell_is_that_of_the_comparison() -> None:
    """The multiplication that finds a cosine's cell agrees with comparing it, on and around every threshold."""
    near = GRID.astype(np.float32)
    for cosines in (near, np.nextafter(near, np.float32(-1)), np.nextafter(near, np.float32(1))):
        cells = np.floor(cosines.astype(np.float64) * module.STEPS).astype(int) + module.STEPS
        assert np.array_equal(cells, np.searchsorted(GRID, cosines.astype(np.float64), side="right") - 1)


def test_photos_without_a_face_are_left_out_and_people_with_them() -> None:
    counts = [2, 1, 2]
    seen = np.array([True, True, False, True, False])
    impostors = Impostors.of(photos_of(counts), embedded_of(faces(counts, 0.5), seen))
    assert impostors is not None
    assert (impostors.people, impostors.pairs, impostors.person.tolist()) == (2, 2, [0, 0, 1])


def test_nobody_is_known() -> None:
    assert Impostors.of([Photo("a", None, b"")], embedded_of(np.ones((1, 2)))) is None
