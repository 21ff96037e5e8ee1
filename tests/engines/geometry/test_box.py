"""A box cut out with its margin: against the equations, one axis at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.geometry.box import cut_box

WIDTH, HEIGHT = 90, 70


def span(low: np.float32, high: np.float32, margin: int, crop: int, image: int) -> slice:
    """facenet-pytorch's: the margin is told in px of the crop; half of it is on either side."""
    widened = margin * (high - low) / (crop - margin)
    return slice(int(max(float(low - widened / 2), 0)), int(min(float(high + widened / 2), image)))


@st.composite
def boxes(draw: st.DrawFn) -> NDArray[np.float32]:
    """At least one px wide and high, within the image."""
    left, top = draw(st.floats(0, WIDTH - 2, width=32)), draw(st.floats(0, HEIGHT - 2, width=32))
    right = draw(st.floats(np.float32(left + 1).item(), WIDTH, width=32))
    return np.array([left, top, right, draw(st.floats(np.float32(top + 1).item(), HEIGHT, width=32))], np.float32)


@given(box=boxes(), margin=st.integers(0, 20), height=st.sampled_from([24, 40]), width=st.sampled_from([24, 32]))
def test_it_shows_what_the_equations_say(box: NDArray[np.float32], margin: int, height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    rows = span(box[1], box[3], margin, height, HEIGHT)
    columns = span(box[0], box[2], margin, width, WIDTH)
    part = image[rows, columns]
    if part.size:  # a box of a px and a bit may lie between two whole ones
        expected = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(cut_box(image, box, height, width, margin), expected)


def test_shrinking_takes_the_mean_of_each_block() -> None:
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    crop = cut_box(image, np.array([10, 20, 58, 68], np.float32), 16, 16)
    means = image[20:68, 10:58].reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(crop, means, atol=0.51)


def test_the_margin_is_cut_off_at_the_edges_of_the_image() -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 40, 3), np.uint8)
    np.testing.assert_array_equal(cut_box(image, np.array([0, 0, 40, 40], np.float32), 40, 40, 20), image)


def test_a_margin_of_half_the_crop_doubles_the_box() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    image[30:50, 30:50] = 255
    crop = cut_box(image, np.array([30, 30, 50, 50], np.float32), 40, 40, 20)
    assert (crop[10:30, 10:30] == 255).all()
    assert crop.astype(int).sum() == 20 * 20 * 3 * 255


@pytest.mark.parametrize("box", [(5.2, 5.2, 5.4, 5.4), (39.5, 39.5, 40, 40), (0, 0, 0.3, 0.3), (7, 7, 7, 7)])
def test_the_smallest_boxes_show_a_pixel(box: tuple[float, ...]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    crop = cut_box(image, np.array(box, np.float32), 16, 16)
    assert (crop == image[int(box[1]), int(box[0])]).all()


@pytest.mark.parametrize("margin", [-1, 24, 300])
def test_a_margin_that_leaves_nothing_is_refused(margin: int) -> None:
    with pytest.raises(ValueError, match="margin"):
        cut_box(np.zeros((40, 40, 3), np.uint8), np.array([0, 0, 9, 9], np.float32), 32, 24, margin)
