from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.detection.matching import Matched, match
from tests.app.evaluation.detection.made_up import Box, annotated, detections, iou_of, square

CORNERS = st.integers(0, 12)
SIDES = st.integers(1, 8)
BOXES = st.builds(lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), CORNERS, CORNERS, SIDES, SIDES)
FACES = st.lists(BOXES, max_size=6)
FOUND = st.lists(st.tuples(BOXES, st.integers(1, 9).map(lambda score: score / 10)), max_size=8)


def matched(
    faces: list[Box], found: list[tuple[Box, float]], least_iou: float = 0.5, ignored: list[Box] | None = None
) -> Matched:
    one = annotated("a", faces, ignored or [])
    return match(detections(*found), one.boxes, one.ignored, least_iou)


def test_a_face_is_found_once_and_a_second_detection_of_it_is_false() -> None:
    became = matched([square(0, 0)], [(square(0, 0), 0.6), (square(1, 0), 0.9)])
    assert became.right.tolist() == [True, False]
    assert became.found_at == pytest.approx([0.9])
    assert became.counted.all()


def test_a_second_detection_takes_the_next_face_if_that_is_near_enough() -> None:
    """The better one takes the face between; the other one, that overlaps it most too, takes the one on the right."""
    faces = [square(0, 0), square(3, 0)]
    became = matched(faces, [(square(1, 0), 0.9), (square(1, 0), 0.8)], least_iou=0.4)
    assert became.right.tolist() == [True, True]
    assert became.found_at == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize(("least", "right"), [(0.5, True), (0.51, False)])
def test_the_iou_itself_is_enough(least: float, right: bool) -> None:
    """Half of the face: 50 px of 100."""
    assert matched([square(0, 0)], [((0, 0, 10, 5), 0.9)], least).right.tolist() == [right]


def test_of_equal_faces_and_of_equal_scores_the_first_comes_first() -> None:
    face = square(0, 0)
    one = annotated("a", [face, face])
    became = match(detections((face, 0.5), (square(1, 0), 0.5), (face, 0.5)), one.boxes, one.ignored, 0.5)
    assert became.right.tolist() == [True, True, False]


def test_an_ignored_face_is_not_missed_and_makes_nothing_false() -> None:
    became = matched(
        [square(0, 0)],
        [(square(50, 0), 0.9), (square(51, 0), 0.8), (square(52, 2, 3), 0.7), (square(90, 0), 0.6)],
        ignored=[square(50, 0)],
    )
    assert not became.right.any()
    assert became.counted.tolist() == [False, False, False, True]
    assert np.isneginf(became.found_at).all()


def test_a_face_that_counts_goes_before_an_ignored_one() -> None:
    became = matched([square(0, 0)], [(square(1, 0), 0.9)], ignored=[square(1, 0)])
    assert became.right.tolist() == became.counted.tolist() == [True]


@pytest.mark.parametrize("faces", [[], [square(0, 0)]])
def test_nothing_found_and_nothing_to_find(faces: list[Box]) -> None:
    assert len(matched(faces, []).right) == 0
    assert matched([], [(square(0, 0), 0.9)]).right.tolist() == [False]


@given(FACES, FOUND, st.sampled_from([0.3, 0.4, 0.5, 0.75]))
def test_the_slow_twin_finds_the_same(faces: list[Box], found: list[tuple[Box, float]], least: float) -> None:
    became = matched(faces, found, least)
    free = set(range(len(faces)))
    for row, (box, score) in enumerate(sorted(found, key=lambda each: -each[1])):
        ranked = sorted(free, key=lambda face: (-np.float32(iou_of(box, faces[face])), face))
        hit = bool(ranked) and np.float32(iou_of(box, faces[ranked[0]])) >= np.float32(least)
        assert became.right[row] == hit
        if hit:
            free.remove(ranked[0])
            assert became.found_at[ranked[0]] == np.float32(score)
    assert np.isneginf(became.found_at).sum() == len(free)


@given(FACES, FACES, FOUND)
def test_what_a_higher_score_finds_is_a_part(
    faces: list[Box], ignored: list[Box], found: list[tuple[Box, float]]
) -> None:
    """So one matching serves the whole curve."""
    whole = matched(faces, found, ignored=ignored)
    few = sorted([each for each in found if each[1] >= 0.5], key=lambda each: -each[1])
    part = matched(faces, few, ignored=ignored)
    assert whole.right[: len(few)].tolist() == part.right.tolist()
    assert whole.counted[: len(few)].tolist() == part.counted.tolist()
    assert np.where(whole.found_at >= np.float32(0.5), whole.found_at, -np.inf).tolist() == part.found_at.tolist()


@given(FACES, FOUND)
def test_the_order_of_detections_of_different_scores_does_not_matter(
    faces: list[Box], found: list[tuple[Box, float]]
) -> None:
    distinct = [(box, 0.05 * (place + 1)) for place, (box, _) in enumerate(found)]
    one = annotated("a", faces)
    best_first = detections(*distinct)
    order = np.random.default_rng(len(found)).permutation(len(found))
    shuffled = match(best_first[order], one.boxes, one.ignored, 0.4)
    straight = match(best_first, one.boxes, one.ignored, 0.4)
    assert shuffled.right.tolist() == straight.right[order].tolist()
    assert shuffled.found_at.tolist() == straight.found_at.tolist()
