"""An image of any size in a network's input, and its boxes back again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.geometry.letterbox import letterbox

SIDE = st.integers(1, 400)
INPUT = st.sampled_from([(64, 64), (96, 128), (128, 96)])


@given(rows=SIDE, columns=SIDE, size=INPUT)
def test_the_image_fills_one_side_and_the_rest_is_black(rows: int, columns: int, size: tuple[int, int]) -> None:
    canvas, scale = letterbox(np.full((rows, columns, 3), 200, np.uint8), *size)
    assert canvas.shape == (*size, 3)
    assert canvas.dtype == np.uint8
    lit = (canvas == 200).all(axis=2)
    height, width = int(lit[:, 0].sum()), int(lit[0].sum())
    assert lit[:height, :width].all()
    assert not canvas[height:].any()
    assert not canvas[:, width:].any()
    assert (height, width) == (max(1, round(rows * scale)), max(1, round(columns * scale)))
    assert height == size[0] or width == size[1]


@given(rows=st.integers(40, 400), columns=st.integers(40, 400), size=INPUT, place=st.tuples(*[st.floats(0, 0.6)] * 2))
def test_a_box_comes_back_where_it_was(
    rows: int, columns: int, size: tuple[int, int], place: tuple[float, float]
) -> None:
    image = np.zeros((rows, columns, 3), np.uint8)
    top, left = int(place[0] * rows), int(place[1] * columns)
    bottom, right = top + rows // 3, left + columns // 3
    image[top:bottom, left:right] = 255
    canvas, scale = letterbox(image, *size)
    across, down = (
        np.flatnonzero((canvas[..., 0] > 127).any(axis=0)),
        np.flatnonzero((canvas[..., 0] > 127).any(axis=1)),
    )
    found = np.array([across[0], down[0], across[-1] + 1, down[-1] + 1]) / scale
    # one input px for the edge's place in the grid, one for the rounded size of a long image
    assert np.abs(found - [left, top, right, bottom]).max() <= 1 + 2 / scale


def test_an_image_of_the_right_size_is_not_copied() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    canvas, scale = letterbox(image, 64, 96)
    assert canvas is image
    assert scale == 1


def test_a_small_image_is_scaled_up() -> None:
    canvas, scale = letterbox(np.full((10, 20, 3), 9, np.uint8), 64, 64)
    assert scale == 3.2
    assert (canvas[:32] == 9).all()
    assert not canvas[32:].any()


def test_views_are_read_as_they_look() -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    for view in (image[:, ::-1], image[..., ::-1], image[::2, 5:], image.transpose(1, 0, 2)):
        np.testing.assert_array_equal(letterbox(view, 64, 64)[0], letterbox(view.copy(), 64, 64)[0])


def test_pixels_are_interpolated_as_opencv_does() -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    np.testing.assert_array_equal(letterbox(image, 64, 64)[0][:48], cv2.resize(image, (64, 48)))


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_an_image_without_pixels_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        letterbox(np.empty(shape, np.uint8), 64, 64)
