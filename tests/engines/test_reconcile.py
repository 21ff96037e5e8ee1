"""Which of two scales is believed about a face.

Images of 640 px: a px of the main input is one of the image, a px of the small input (192) is 0.3 of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from engines.detector import Detections
from engines.single_shot import reconcile

Face = tuple[float, float, float, float, float]
"""x1, y1, x2, y2, score."""


def faces(*rows: Face) -> Detections:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(array[:, :4], array[:, 4], np.repeat(array[:, None, :2], 5, axis=1))


SMALL, MIDDLE, LARGE = (100, 100, 200, 200), (100, 100, 300, 300), (50, 50, 550, 550)


def _moved(box: tuple[int, int, int, int], by: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    return x1 + by, y1 + by, x2 + by, y2 + by


def test_a_small_face_is_the_main_scale_s_alone() -> None:
    given = faces((*SMALL, 0.9))
    for small in (faces(), faces((*_moved(SMALL, 5), 0.99)), faces((*_moved(SMALL, 200), 0.99))):
        merged = reconcile(given, small, 1.0, 0.3)
        np.testing.assert_array_equal(merged.boxes, given.boxes)
        np.testing.assert_array_equal(merged.scores, given.scores)


@pytest.mark.parametrize(
    ("opinion", "score"),
    [((), 0.4), ((*_moved(MIDDLE, 10), 0.2), 0.5), ((*MIDDLE, 0.9), 0.8), ((*_moved(MIDDLE, 250), 0.9), 0.4)],
)
def test_a_middling_face_is_doubted_where_the_small_scale_doubts_it(opinion: Face | tuple[()], score: float) -> None:
    merged = reconcile(faces((*MIDDLE, 0.8)), faces(*([opinion] if opinion else [])), 1.0, 0.3)
    np.testing.assert_allclose(merged.scores, [score], rtol=1e-6)
    np.testing.assert_allclose(merged.boxes, [MIDDLE])


def test_a_large_face_takes_the_small_scale_s_place() -> None:
    small = faces((*_moved(LARGE, 20), 0.7), (*_moved(LARGE, -60), 0.4))
    merged = reconcile(faces((*LARGE, 0.9), (*SMALL, 0.6)), small, 1.0, 0.3)
    np.testing.assert_array_equal(merged.boxes, [_moved(LARGE, 20), SMALL, _moved(LARGE, 20), _moved(LARGE, -60)])
    np.testing.assert_allclose(merged.scores, [0.8, 0.6, 0.7, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(merged.landmarks[0], small.landmarks[0])


def test_a_large_face_keeps_its_place_where_the_small_scale_is_unsure() -> None:
    merged = reconcile(faces((*LARGE, 0.9)), faces((*_moved(LARGE, 20), 0.1)), 1.0, 0.3)
    np.testing.assert_array_equal(merged.boxes[0], LARGE)
    np.testing.assert_allclose(merged.scores, [0.5, 0.1], rtol=1e-6)


def test_a_box_turned_inside_out_has_no_size() -> None:
    """As distances to the sides are, at low scores: no warning, and no say."""
    given, inside_out = faces((*LARGE, 0.9)), faces((500, 50, 100, 550, 0.1), (500, 550, 100, 50, 0.1))
    merged = reconcile(given, inside_out, 1.0, 0.3)
    np.testing.assert_array_equal(merged.boxes, given.boxes)
