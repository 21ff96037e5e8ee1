"""An identification report, its table on the terminal and its pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from rich.console import Console

from app.evaluation.identification import plots
from app.evaluation.identification.figures import measure
from app.evaluation.identification.report import markdown
from app.evaluation.identification.tables import summary
from app.evaluation.wording import Json
from engines.thresholds import FarRow, Thresholds
from tests.app.evaluation.made_up import ABOUT, sample

UP, RIGHT, BETWEEN = (0.0, 1.0), (1.0, 0.0), (0.6, 0.8)
GALLERY = sample(("alice", UP), ("bob", RIGHT))
TABLE = Thresholds(0.5, 1e-3, None, (FarRow(0.5, 1e-2), FarRow(0.9, 1e-3)))


def told(*probes: tuple[str, tuple[float, float] | None], thresholds: Thresholds | None = TABLE) -> Json:
    groups = {"a_*": {f"{person}/{place}": "all" for place, (person, _) in enumerate(probes)}}
    found = measure(GALLERY, sample(*probes), thresholds, replicates=50, groups=groups)
    return ABOUT | {"data": {"gallery": "known", "probes": "asked"}, "identification": found}


USUAL = told(("alice", UP), ("bob", None), ("carol", BETWEEN))
ALL_KNOWN = told(("alice", UP), ("bob", BETWEEN), thresholds=None)


def test_the_report_says_what_the_figures_say() -> None:
    text = "\n".join(markdown(USUAL, {"cmc.png": "CMC"}))
    assert "gallery known: 2 photos of 2 people; probes asked: 3 photos of 3 people, 2 of them of people in" in text
    assert "| 1 | 50.00 %" in text
    assert "Cosine ≥ **0.900** for 2 identities, with a FAR of 1.0e-03" in text
    assert "![CMC](cmc.png)" in text
    assert "## By a\\_\\*" in text
    assert "| 1 % | – | not measurable here | not measurable here |" in text


def test_what_is_not_there_is_said() -> None:
    text = "\n".join(markdown(ALL_KNOWN, {}))
    assert "every probe shows someone of the gallery" in text
    assert "faceserve eval verification --save" in text


def test_the_terminal_has_the_short_version(capsys: pytest.CaptureFixture[str]) -> None:
    for each in (USUAL, ALL_KNOWN):
        Console(width=90).print(summary(each))
    shown = capsys.readouterr().out
    assert shown.count("rank 1") == 2
    assert shown.count("the model's own threshold") == 1


@pytest.mark.parametrize("which", [USUAL, ALL_KNOWN, told(("bob", None), ("carol", None))])
def test_pictures_are_drawn_of_anything(tmp_path: Path, which: Json) -> None:
    pytest.importorskip("matplotlib")
    for draw in (plots.cmc, plots.open_set):
        draw(which["identification"], "finder + teller", tmp_path / "plot.png")
        picture = cv2.imread(str(tmp_path / "plot.png"))
        assert picture is not None
