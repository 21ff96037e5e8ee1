"""The canvas: every level of every picture has a place of its own, and every window belongs to one level or to none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.cascade.pyramid import FACTOR, STRIDE_PX, WINDOW_PX, canvas_size, layout, paint

Size = tuple[int, int]
sizes = st.tuples(st.integers(12, 1536), st.integers(12, 1536))


@st.composite
def pictures(draw: Callable[..., int]) -> tuple[Size, Size]:
    """A picture and a size that it fits into."""
    height, width = draw(st.integers(12, 300)), draw(st.integers(12, 300))
    return (draw(st.integers(1, height)), draw(st.integers(1, width))), (height, width)


@settings(max_examples=50)
@given(pictures())
def test_levels_have_places_of_their_own_and_windows_one_level(given_sizes: tuple[Size, Size]) -> None:
    picture, size = given_sizes
    found = layout(picture, size)
    covered = np.full(found.canvas, -1, int)
    for number, level in enumerate(found.levels):
        assert (level.top % STRIDE_PX, level.left % STRIDE_PX) == (0, 0)
        place = covered[level.top : level.top + level.height, level.left : level.left + level.width]
        assert place.shape == (level.height, level.width)
        assert (place == -1).all()
        place[:] = number
    random = np.random.default_rng(sum(size))
    for row, column in zip(*(random.integers(0, side, 40) for side in found.of_cell.shape), strict=True):
        seen = covered[STRIDE_PX * row :, STRIDE_PX * column :][:WINDOW_PX, :WINDOW_PX]
        assert seen.shape == (WINDOW_PX, WINDOW_PX)
        whole = seen.min() == seen.max()
        assert found.of_cell[row, column] == (seen[0, 0] if whole else -1)


@settings(max_examples=50)
@given(sizes)
def test_levels_shrink_to_the_least_and_fill_most_of_the_canvas(size: Size) -> None:
    canvas, levels = canvas_size(size), layout(size, size).levels
    assert all(side % 2 == 0 for side in canvas)
    assert bool(levels) == (min(size) >= 20)
    for before, after in pairwise(levels):
        assert after.scale == pytest.approx(before.scale * FACTOR)
    if min(size) >= 100:
        assert min(levels[-1].height, levels[-1].width) < WINDOW_PX / FACTOR + 1
        assert sum(level.height * level.width for level in levels) > 0.8 * canvas[0] * canvas[1]


def test_sizes_known() -> None:
    assert [canvas_size(size) for size in ((640, 640), (480, 640), (640, 480))] == [(386, 854), (290, 854), (386, 642)]
    assert canvas_size((12, 12)) == (12, 12)
    first = layout((640, 640), (640, 640)).levels[0]
    assert (first.scale, first.height, first.width) == (0.6, 385, 385)


def test_a_level_shows_the_whole_picture() -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 200))
    picture = np.stack([across, down, np.full_like(across, 7)], axis=-1).astype(np.uint8)
    found = layout((200, 300), (320, 320))
    canvas = paint(picture, found)
    for level in found.levels:
        shown = canvas[level.top : level.top + level.height, level.left : level.left + level.width].astype(int)
        reach = 255 / min(level.height, level.width) + 3
        assert np.max(abs(shown[:, :, 0] - np.linspace(0, 255, level.width))) <= reach
        assert np.max(abs(shown[:, :, 1] - np.linspace(0, 255, level.height)[:, None])) <= reach
        assert (shown[:, :, 2] == 7).all()
    outside = canvas.sum(axis=2) == 0
    assert outside.sum() >= canvas[:, :, 0].size - sum(level.height * level.width for level in found.levels)
