"""The command itself, on the sample photos with faces that were marked by hand."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.app.evaluation.detection.test_wider import write_truth
from tests.command import Done, run

LIST = """group.jpg
2
134 64 134 168 0 0 0 0 0 0
407 61 98 126 0 0 0 0 0 0
grace_hopper.jpg
1
600 600 4 9 0 0 0 0 0 0
"""
"""Both faces of the group, and where on the other photo none is."""
READY = "written: "


class Bench:
    """The command in a folder of its own."""

    def __init__(
        self, folder: Path, samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.samples = folder, samples
        self._run = partial(run, monkeypatch, capsys)
        self.list = folder / "wider.txt"
        self.list.write_text(LIST, "utf-8")

    def run(self, *arguments: object, images: Path | None = None, annotations: Path | None = None) -> Done:
        where = ("--images", images or self.samples, "--annotations", annotations or self.list)
        out = ("--out", self.folder / "out", "--data-dir", self.folder / "data", "--replicates", 100)
        return self._run("eval", "detection", *where, *out, *arguments)

    @property
    def told(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads((self.folder / "out" / "detection.json").read_bytes())["detection"]
        return figures


@pytest.fixture
def bench(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, samples, monkeypatch, capsys)


def test_from_photos_to_the_report(bench: Bench) -> None:
    done = bench.run()
    assert (done.code, done.err) == (0, "")
    names = ["detection.md", "detection.json", "detection_precision.png", "detection_sizes.png", "detection_worst.png"]
    assert [line for line in done.out.splitlines() if line.startswith(READY)] == [
        f"{READY}{bench.folder / 'out' / name}" for name in names
    ]
    told = bench.told
    assert (told["photos"], told["faces"], told["unreadable"], told["wider"]) == (2, 3, [], None)
    assert [row["iou"] for row in told["at_iou"]] == [0.4, 0.5]
    row = told["at_iou"][0]
    assert row["serving"]["found"] == 2
    assert row["serving"]["false"] == 1
    assert told["worst"] == [{"photo": "grace_hopper.jpg", "missed": 1, "false": 1}]
    for name in names[2:]:
        picture = cv2.imread(str(bench.folder / "out" / name))
        assert picture is not None
        assert np.unique(picture).size > 50
    report = (bench.folder / "out" / "detection.md").read_text("utf-8")
    assert "| 0.4 | 66.67 %" in report
    assert re.search(r"^\| grace.*hopper\.jpg \| 1 \| 1 \|$", report, re.MULTILINE)


def test_the_figures_again_are_the_same_and_need_no_cache(bench: Bench) -> None:
    """The second run reads what the first one kept; the third keeps nothing."""
    figures = []
    for flags in ((), (), ("--no-cache",)):
        assert bench.run("--iou", 0.5, *flags).code == 0
        figures.append(bench.told)
    assert figures[0] == figures[1] == figures[2]
    assert [row["iou"] for row in figures[0]["at_iou"]] == [0.5]


def test_a_photo_that_cannot_be_read_is_named_and_left_out(bench: Bench, samples: Path) -> None:
    images = bench.folder / "images"
    images.mkdir()
    (images / "group.jpg").write_bytes((samples / "group.jpg").read_bytes())
    (images / "grace_hopper.jpg").write_bytes(b"\xff\xd8\xffno more")
    assert bench.run(images=images).code == 0
    assert (bench.told["unreadable"], bench.told["photos"], bench.told["faces"]) == (["grace_hopper.jpg"], 1, 2)
    assert bench.told["at_iou"][0]["ap"]["value"] == pytest.approx(1)
    assert bench.told["worst"] == []
    report = (bench.folder / "out" / "detection.md").read_text("utf-8")
    assert "**1 photo could not be read**" in report


def test_groups_and_widers_protocol(bench: Bench, samples: Path) -> None:
    images = bench.folder / "images"
    (images / "0--Group").mkdir(parents=True)
    (images / "0--Group" / "group.jpg").write_bytes((samples / "group.jpg").read_bytes())
    bench.list.write_text("0--Group/" + "\n".join(LIST.splitlines()[:4]), "utf-8")
    (bench.folder / "who.csv").write_text("photo,light\n0--Group/group.jpg,day\n", "utf-8")
    faces = [(134.0, 64.0, 134.0, 168.0), (407.0, 61.0, 98.0, 126.0), (10.0, 10.0, 9.0, 9.0)]
    subsets = {"easy": [1], "medium": [1, 2], "hard": [1, 2, 3]}
    truth = write_truth(bench.folder / "truth", {"0--Group": {"group.jpg": (faces, subsets)}})
    done = bench.run("--wider-ground-truth", truth, "--attributes", bench.folder / "who.csv", images=images)
    assert done.code == 0
    assert bench.told["groups"]["light"][0]["recall"]["value"] == 1
    assert {name: bench.told["wider"][name] for name in subsets} == {
        "easy": {"faces": 1, "ap": pytest.approx(1)},
        "medium": {"faces": 2, "ap": pytest.approx(1)},
        "hard": {"faces": 3, "ap": pytest.approx(2 / 3)},
    }
    report = (bench.folder / "out" / "detection.md").read_text("utf-8")
    assert "| hard | 3 | 66.67 % |" in report
    assert "## By light" in report


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--min-score", 0.9), "--min-score 0.9 is above the 0.5 that is served"),
        (("--only", "nobody*"), "annotates 2 photos, none of them called nobody*"),
        (("--detector", "mobilefacenet_256"), "mobilefacenet_256 is a embedder, not a detector"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_a_line(bench: Bench, flags: tuple[object, ...], said: str) -> None:
    done = bench.run(*flags)
    assert done.code == 1
    assert done.err.startswith("faceserve: ")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_photos_that_are_elsewhere(bench: Bench) -> None:
    done = bench.run(images=bench.folder)
    assert done.code == 1
    assert "2 of the 2 photos" in done.err


def test_help_names_the_flags(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(monkeypatch, capsys, "eval", "detection", "--help")
    assert done.code == 0
    assert "wider" in done.out
