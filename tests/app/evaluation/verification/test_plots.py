"""Pictures are drawn of whatever was measured; what is on them, people must judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.evaluation.photos import Photo
from app.evaluation.verification import figures, plots
from app.evaluation.verification.generated import pairs_of
from app.evaluation.verification.pairs import Pairs
from app.evaluation.wording import Json
from tests.app.evaluation.made_up import crowd

pytest.importorskip("matplotlib")
Draw = Callable[[Json, str, Path], None]
BLUE, ORANGE = (235, 111, 31), (6, 119, 217)  # BGR


def measured(people: int, spread: float, *, named: bool = True) -> Json:
    whole = crowd(people, 3, spread=spread)
    pairs = pairs_of(whole.photos)
    if not named:
        photos = tuple(Photo(photo.name, None, b"") for photo in pairs.photos)
        pairs = Pairs(photos, pairs.left, pairs.right, pairs.same, pairs.fold)
    return figures.measure(pairs, whole.embedded, replicates=50)


@pytest.fixture(scope="module")
def usual() -> Json:
    return measured(60, 0.8)


@pytest.mark.parametrize("draw", [plots.roc, plots.det, plots.histograms])
@pytest.mark.parametrize("what", ["usual", "no mistakes", "hopeless", "nameless"])
def test_any_figures_can_be_drawn(tmp_path: Path, usual: Json, draw: Draw, what: str) -> None:
    made: dict[str, Callable[[], Json]] = {
        "usual": lambda: usual,
        "no mistakes": lambda: measured(12, 0.01),
        "hopeless": lambda: measured(12, 100),
        "nameless": lambda: measured(12, 0.5, named=False),
    }
    draw(made[what](), "finder + teller; $crowd$_", tmp_path / "plot.png")
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture is not None
    assert picture.shape[0] > 500


def test_both_curves_are_on_the_roc(tmp_path: Path, usual: Json) -> None:
    plots.roc(usual, "", tmp_path / "roc.png")
    picture = cv2.imread(str(tmp_path / "roc.png"))
    assert picture is not None
    for colour in (BLUE, ORANGE):
        assert np.count_nonzero((picture == colour).all(axis=2)) > 300


def test_the_same_figures_make_the_same_picture(tmp_path: Path, usual: Json) -> None:
    for name in ("one.png", "other.png"):
        plots.det(usual, "", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
