"""A contact sheet of mistakes: two crops side by side, what they are called, and how similar they were found."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from app.evaluation.photos import Photo
from app.evaluation.wording import Json, short
from engines.base import Image

if TYPE_CHECKING:
    from app.evaluation.run import Method, Run

COLUMNS = 4
DPI = 110
SIDE, BETWEEN, GAP = 146, 5, 11
"""Pixels of the sheet: a crop, what lies between the two of a pair, and what lies beside the pairs."""
CELL = 2 * SIDE + BETWEEN + 2 * GAP
CAPTION, TITLE = 68, 46
"""The height of what is written below a pair, and above a section."""
GREY, DARK = 233, "#202124"


@dataclass(frozen=True, slots=True)
class Mistake:
    """Two photos and the cosine of their faces; a crop (h, w, 3) uint8 BGR, or None where no face was found."""

    left: str
    right: str
    similarity: float
    crops: tuple[Image | None, Image | None]


@dataclass(frozen=True, slots=True)
class Section:
    """Mistakes of one kind, the worst first."""

    title: str
    mistakes: Sequence[Mistake]


def draw(sections: Sequence[Section], path: Path) -> None:
    """Writes the sheet as PNG. A section without mistakes says so. Needs matplotlib."""
    from matplotlib.figure import Figure

    heights = [TITLE + math.ceil(len(section.mistakes) / COLUMNS) * (SIDE + CAPTION) for section in sections]
    canvas = np.full((sum(heights) + GAP, COLUMNS * CELL, 3), 255, np.uint8)
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    top = 0
    for section, taken in zip(sections, heights, strict=True):
        words = section.title if section.mistakes else f"{section.title}: none"
        _write(figure, canvas, words, GAP, top + TITLE // 2, fontsize=11, weight="bold", va="center")
        for place, mistake in enumerate(section.mistakes):
            row, column = divmod(place, COLUMNS)
            _cell(figure, canvas, mistake, column * CELL + GAP, top + TITLE + row * (SIDE + CAPTION))
        top += taken
    figure.figimage(np.ascontiguousarray(canvas[..., ::-1]), origin="upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; that is no news to whoever reads the terminal.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path)


def _cell(figure: Any, canvas: Image, mistake: Mistake, left: int, top: int) -> None:
    """Puts a pair's crops on the canvas, the upper left corner there, and writes below them."""
    for place, crop in enumerate(mistake.crops):
        start = left + place * (SIDE + BETWEEN)
        tile = canvas[top : top + SIDE, start : start + SIDE]
        if crop is None:
            tile[:] = GREY
            middle = {"fontsize": 8, "ha": "center", "va": "center"}
            _write(figure, canvas, "no face\nfound", start + SIDE // 2, top + SIDE // 2, **middle)
        else:
            tile[:] = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    below = top + SIDE + 6
    names = f"{_caption(mistake.left)}\n{_caption(mistake.right)}"
    _write(figure, canvas, names, left, below, fontsize=7, va="top", linespacing=1.25)
    known = all(crop is not None for crop in mistake.crops)
    cosine = f"{mistake.similarity:.3f}" if known else "no cosine"
    end = left + 2 * SIDE + BETWEEN
    _write(figure, canvas, cosine, end, below, fontsize=9, weight="bold", ha="right", va="top")


def _write(figure: Any, canvas: Image, words: str, x: int, y: int, **how: Any) -> None:
    """Writes at that pixel of the canvas."""
    height, width = canvas.shape[:2]
    figure.text(x / width, 1 - y / height, words, color=DARK, parse_math=False, **how)


def _caption(name: str) -> str:
    """A photo's name without its folder, where the file repeats that."""
    folder, _, file = name.rpartition("/")
    return short(file if folder and file.startswith(folder.rpartition("/")[2]) else name)


def mistakes(
    run: Run, method: Method, rows: Sequence[Json], left: Sequence[Photo], right: Sequence[Photo]
) -> list[Mistake]:
    """The rows (left, right: names of photos; similarity) with the crops that were compared."""
    first, second = ({photo.name: photo for photo in photos} for photos in (left, right))
    return [
        Mistake(
            row["left"],
            row["right"],
            row["similarity"],
            (run.crop(first[row["left"]], method), run.crop(second[row["right"]], method)),
        )
        for row in rows
    ]
