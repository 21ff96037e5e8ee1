"""The pyramid of a picture on one canvas of fixed size: what lets P-Net see every scale in one run of static shape.

The canvas belongs to a picture size, the largest that it has room for. Where each level begins follows from that size
alone; a smaller picture's levels begin there too and leave room. Levels touch: a window that lies in none of them, or
in two, is no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image
from engines.families import Size

WINDOW_PX, STRIDE_PX = 12, 2
"""What a cell of P-Net sees, and how far its neighbour is."""
LEAST_FACE_PX = 20
"""The smallest face that is looked for; 12 px of the first level."""
FACTOR = 0.709
"""From one level to the next: about the root of one half."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level and its place on the canvas, in px; picture px * scale = level px."""

    scale: float
    height: int
    width: int
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The levels of a picture on a canvas. `of_cell` (rows, columns) int8 tells for each of P-Net's cells in which
    level its window lies, -1 for one that lies in none."""

    canvas: Size
    levels: tuple[Level, ...]
    of_cell: NDArray[np.int8]
    scales: NDArray[np.float32]
    """(L,): of each level."""
    origins: NDArray[np.float32]
    """(L, 2): left and top of each level."""


def canvas_size(size: Size) -> Size:
    """(height, width) of the canvas for pictures up to `size`: both even, a window's at least."""
    levels = _places(size)
    height = max((level.top + level.height for level in levels), default=0)
    width = max((level.left + level.width for level in levels), default=0)
    return _even(max(height, WINDOW_PX)), _even(max(width, WINDOW_PX))


@lru_cache(maxsize=64)
def layout(picture: Size, size: Size) -> Layout:
    """The layout of a `picture` (height, width) that is nowhere larger than `size`, on the canvas of `size`."""
    places = _places(size)
    levels = tuple(
        Level(scale, *sides, place.top, place.left)
        for (scale, sides), place in zip(_sides(picture), places, strict=False)
    )
    canvas = canvas_size(size)
    of_cell = np.full([(side - WINDOW_PX) // STRIDE_PX + 1 for side in canvas], -1, np.int8)
    for number, level in enumerate(levels):
        rows, columns = ((side - WINDOW_PX) // STRIDE_PX + 1 for side in (level.height, level.width))
        top, left = level.top // STRIDE_PX, level.left // STRIDE_PX
        of_cell[top : top + rows, left : left + columns] = number
    of_cell.setflags(write=False)
    scales = np.array([level.scale for level in levels], np.float32)
    origins = np.array([(level.left, level.top) for level in levels], np.float32).reshape(-1, 2)
    return Layout(canvas, levels, of_cell, scales, origins)


def paint(picture: Image, layout: Layout) -> Image:
    """The canvas (h, w, 3) with the levels of `picture`, black where there are none.

    Each is made of the picture halved as long as it stays the larger one: halving averages and costs next to nothing,
    and the rest of the way, less than twofold, a bilinear filter skips no pixel.
    """
    canvas = np.zeros((*layout.canvas, 3), np.uint8)
    source = picture
    for level in layout.levels:
        while min(source.shape[0] - 2 * level.height, source.shape[1] - 2 * level.width) >= 0:
            halves = source.shape[1] // 2, source.shape[0] // 2
            source = np.asarray(cv2.resize(source, halves, interpolation=cv2.INTER_AREA), np.uint8)
        target = canvas[level.top : level.top + level.height, level.left : level.left + level.width]
        cv2.resize(source, (level.width, level.height), dst=target, interpolation=cv2.INTER_LINEAR)
    return canvas


def _sides(picture: Size) -> list[tuple[float, Size]]:
    """Scale and (height, width) of each level."""
    found = []
    scale = WINDOW_PX / LEAST_FACE_PX
    while min(picture) * scale >= WINDOW_PX:
        height, width = (int(side * scale + 1) for side in picture)
        found.append((scale, (height, width)))
        scale *= FACTOR
    return found


def _places(size: Size) -> list[Level]:
    """Each level in the smallest free rectangle that it fits into, and the canvas as high as the first.

    What is left of a rectangle is cut in two, right of the level and below it. For any size about nine tenths of the
    canvas are covered.
    """
    levels = []
    free: list[tuple[int, int, int, float]] = []
    for scale, (height, width) in _sides(size):
        rows, columns = _even(height), _even(width)
        if not free:
            free.append((0, 0, rows, np.inf))
        best = min(
            (rest for rest in free if rest[2] >= rows and rest[3] >= columns), key=lambda rest: rest[2] * rest[3]
        )
        free.remove(best)
        top, left, room_below, room_right = best
        free.append((top, left + columns, room_below, room_right - columns))
        free.append((top + rows, left, room_below - rows, columns))
        levels.append(Level(scale, height, width, top, left))
    return levels


def _even(side: int) -> int:
    return side + side % 2
