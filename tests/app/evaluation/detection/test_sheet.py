from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from app.evaluation.detection.annotations import Annotated
from app.evaluation.detection.plots import size_name
from app.evaluation.detection.sheet import MOST_PX, Cell, cell, draw
from app.evaluation.photos import Photo
from app.evaluation.plots import BLUE, GREY, ORANGE, RED
from tests.app.evaluation.detection.made_up import detections, square


@pytest.fixture
def photo(tmp_path: Path) -> Annotated:
    """1280 × 640 px with a face to find, one to miss and one to ignore."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((640, 1280, 3), 200, np.uint8))
    boxes = np.array([square(0, 0, 100), square(200, 0, 100), square(400, 0, 100)], np.float32)
    return Annotated(Photo("a.png", None, tmp_path / "a.png"), boxes, np.array([False, False, True]))


def marked(photo: Annotated) -> Cell:
    """The first face is found, the second one too late, the third is ignored; one detection is false."""
    found = detections(
        *((square(0, 0, 100), 0.9), (square(200, 0, 100), 0.4), (square(400, 0, 100), 0.8)),
        *((square(600, 0, 100), 0.7), (square(800, 0, 100), 0.3)),
    )
    return cell(photo, found, least_iou=0.5, score=0.5, max_pixels=10**7)


def test_a_photo_is_made_smaller_and_its_marks_with_it(photo: Annotated) -> None:
    made = marked(photo)
    assert made.image.shape == (MOST_PX // 2, MOST_PX, 3)
    assert [(mark.colour, mark.box.tolist()) for mark in made.marks] == [
        (GREY, [200, 0, 250, 50]),
        (BLUE, [0, 0, 50, 50]),
        (RED, [100, 0, 150, 50]),
        (ORANGE, [300, 0, 350, 50]),
    ]
    assert [mark.score for mark in made.marks] == [None, None, None, pytest.approx(0.7)]
    assert made.caption == "a.png: 1 missed, 1 false"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_sheet_has_a_row_for_three(photo: Annotated, tmp_path: Path, count: int) -> None:
    draw([marked(photo)] * count, tmp_path / "new" / "sheet.png")
    drawn = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert drawn is not None
    red = np.array([int(RED[place : place + 2], 16) for place in (5, 3, 1)])
    assert (np.abs(drawn.astype(int) - red).max(axis=2) < 8).any()
    assert drawn.shape[0] < drawn.shape[1]


def test_sizes_have_names() -> None:
    bounds = ((0, 8), (8, 16), (128, None))
    assert [size_name({"from_px": low, "below_px": high}) for low, high in bounds] == ["< 8", "8–16", "≥ 128"]
