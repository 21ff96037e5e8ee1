"""A contact sheet of the photos with most mistakes: what was missed and what was false, drawn on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.evaluation.detection.annotations import Annotated
from app.evaluation.detection.matching import match
from app.evaluation.plots import BLUE, DARK, GREY, ORANGE, RED
from app.evaluation.wording import short
from app.images import decode
from engines.base import Image
from engines.detector import Detections
from engines.geometry.overlap import Boxes

COLUMNS = 3
CELL_IN, CAPTION_IN, TITLE_IN, GAP_IN = 4.2, 0.28, 0.55, 0.12
MOST_PX, DPI = 640, 130


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw, (4,) x1 y1 x2 y2 in px of the photo, and the score to write at it, if any."""

    box: Any
    colour: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A photo, smaller, with its marks in px of the smaller one, and what is written below."""

    image: Image
    marks: Sequence[Mark]
    caption: str


def cell(photo: Annotated, found: Detections, *, least_iou: float, score: float, max_pixels: int) -> Cell:
    """The photo with its faces, found or missed at that score, and false detections. Raises what `decode` raises."""
    image = decode(photo.photo.read(), max_pixels=max_pixels)
    shrink = min(1.0, MOST_PX / max(image.shape[:2]))
    if shrink < 1:
        image = np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    became = match(found, photo.boxes, photo.ignored, least_iou)
    missed = ~photo.ignored & (became.found_at < score)
    false = became.counted & ~became.right & (found.scores >= score)
    marks = [
        *_marks(photo.boxes[photo.ignored] * shrink, GREY),
        *_marks(photo.boxes[~photo.ignored & ~missed] * shrink, BLUE),
        *_marks(photo.boxes[missed] * shrink, RED),
        *_marks(found.boxes[false] * shrink, ORANGE, found.scores[false]),
    ]
    return Cell(image, marks, f"{short(photo.photo.name, 44)}: {missed.sum()} missed, {false.sum()} false")


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Writes the sheet as PNG; without cells it says that there were no mistakes. Needs matplotlib."""
    from matplotlib.figure import Figure

    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    heights = [max(_size_in(one)[1] for one in row) + CAPTION_IN for row in rows]
    height = TITLE_IN + sum(heights)
    figure = Figure(figsize=(COLUMNS * CELL_IN, height), dpi=DPI, facecolor="white")
    _title(figure, bool(cells))
    for number, row in enumerate(rows):
        for column, one in enumerate(row):
            _draw(figure, one, column * CELL_IN, height - TITLE_IN - sum(heights[:number]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; that is no news to whoever reads the terminal.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path)


def _title(figure: Any, some: bool) -> None:
    width, height = figure.get_size_inches()
    words = [(0.12, "Photos with most mistakes" if some else "No mistakes", DARK), (4.3, "missed", RED)]
    words += [(5.3, "false, with its score", ORANGE), (7.6, "found", BLUE), (8.5, "ignored", GREY)]
    for at, text, colour in words:
        figure.text(at / width, 1 - TITLE_IN / 2 / height, text, fontsize=12, color=colour, weight="bold", va="center")


def _size_in(one: Cell) -> tuple[float, float]:
    """The width and height of a cell's photo on the sheet, in inches."""
    rows, columns = one.image.shape[:2]
    scale = (CELL_IN - GAP_IN) / max(rows, columns)
    return columns * scale, rows * scale


def _draw(figure: Any, one: Cell, left: float, top: float) -> None:
    """Draws a cell with its upper left corner there, in inches from the figure's lower left one."""
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    rows, columns = one.image.shape[:2]
    size = _size_in(one)
    corner = (left + GAP_IN / 2) / width, (top - size[1]) / height
    axes = figure.add_axes((*corner, size[0] / width, size[1] / height))
    axes.imshow(np.ascontiguousarray(one.image[..., ::-1]), interpolation="lanczos", aspect="auto")
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()
    for mark in one.marks:
        x, y, right, bottom = (float(side) - 0.5 for side in mark.box)
        axes.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, edgecolor=mark.colour, linewidth=1.3))
        if mark.score is not None:
            axes.text(
                x, y, f"{mark.score:.2f}", fontsize=7, color=mark.colour, va="bottom", weight="bold", clip_on=True
            )
    figure.text(corner[0], corner[1] - 0.05 / height, one.caption, fontsize=8, color=DARK, va="top", parse_math=False)


def _marks(boxes: Boxes, colour: str, scores: Any = None) -> Iterator[Mark]:
    for place, box in enumerate(boxes):
        yield Mark(box, colour, None if scores is None else float(scores[place]))
