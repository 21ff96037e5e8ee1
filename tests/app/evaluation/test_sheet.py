"""The contact sheet: crops where they belong, in their colours, whatever the photos are called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from app.evaluation.sheet import CELL, COLUMNS, Mistake, Section, draw
from engines.base import Image

pytest.importorskip("matplotlib")
RED, GREEN = (0, 0, 255), (0, 255, 0)


def flat(colour: tuple[int, int, int]) -> Image:
    return np.full((112, 112, 3), colour, np.uint8)


def drawn(path: Path, *sections: Section) -> Image:
    draw(sections, path)
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture.astype(np.uint8)


def seen(picture: Image, colour: tuple[int, int, int]) -> tuple[int, int] | None:
    """(x, y) of the middle of what has that colour, BGR."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    return (int(columns.mean()), int(rows.mean())) if len(rows) > 1000 else None


def test_both_crops_stand_side_by_side_in_their_colours(tmp_path: Path) -> None:
    pair = Mistake("alice/1.jpg", "bob/1.jpg", 0.41, (flat(RED), flat(GREEN)))
    picture = drawn(tmp_path / "sheet.png", Section("Worst", [pair]))
    left, right = seen(picture, RED), seen(picture, GREEN)
    assert left is not None
    assert right is not None
    assert left[0] < right[0] < CELL  # in the first cell
    assert abs(left[1] - right[1]) <= 1


def test_mistakes_go_on_in_the_next_row(tmp_path: Path) -> None:
    filler = Mistake("a", "b", 0.5, (None, None))
    pair = Mistake("c", "d", 0.4, (flat(RED), flat(GREEN)))
    picture = drawn(tmp_path / "sheet.png", Section("Worst", [filler] * COLUMNS + [pair]))
    found = seen(picture, RED)
    assert found is not None
    assert found[0] < CELL
    assert found[1] > picture.shape[0] / 2


def test_without_a_crop_nothing_is_invented(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "sheet.png", Section("Worst", [Mistake("a", "b", -1.0, (flat(RED), None))]))
    assert seen(picture, RED) is not None
    assert seen(picture, GREEN) is None


@pytest.mark.parametrize("name", ["$x^$", "a_b/a_b_0001.jpg", "漢字/名前.jpg", "long " * 50, "tab\tand\nline", ""])
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    mistakes = [Mistake(name, name, 0.5, (flat(RED), flat(GREEN)))]
    assert drawn(tmp_path / "sheet.png", Section("Worst", mistakes), Section(name, [])).size
