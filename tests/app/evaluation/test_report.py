"""What a run says of itself, and the files it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.evaluation import report
from app.evaluation.run import Method, open_run
from app.settings import Settings
from engines.models import sha256_of
from tests.app.evaluation.made_up import ABOUT


@pytest.mark.parametrize("small_scale", [True, False])
def test_about_names_what_really_ran(tmp_path: Path, small_scale: bool) -> None:
    settings = Settings(data_dir=tmp_path, small_scale=small_scale)
    with open_run(settings, cache=None) as run:
        told = report.about(run, Method(), settings, {"images": "x"})
        digest = run.detector.digest
    assert told["models"]["detector"]["digest"] == digest
    assert len(told["models"]["detector"]["sizes"]) == 1 + small_scale
    assert told["models"]["runtime"]["runtime"] == "onnxruntime"
    assert told["method"]["min_score"] == 0.5  # what the service takes for that detector
    assert told["machine"].keys().isdisjoint(report.ONE_CORE)
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"aligned": False, "face": "largest", "min_score": 0.25, "flip": True},
         "the largest face of a photo, detection score ≥ 0.25, crop and mirrored crop added"),
        ({"aligned": True, "face": "central", "min_score": None, "flip": False},
         "crops as they are, nothing is detected"),
    ],
)  # fmt: skip
def test_the_method_in_words(method: dict[str, object], words: str) -> None:
    assert report.method_line(method) == words


def test_everything_is_written_into_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    told = ABOUT | {"data": {"images": "Ünï"}}
    drawn = {"a_b.png": lambda path: path.write_bytes(b"drawn") and None}
    written = report.write(told, ["# Title", "", "text", ""], drawn, out, "a")
    assert written == [out / "a.md", out / "a.json", out / "a_b.png"]
    assert (out / "a.md").read_text("utf-8") == "# Title\n\ntext\n"
    assert json.loads((out / "a.json").read_text("utf-8")) == told
    before = sha256_of(out / "a.json")
    report.write(told, ["# Title"], drawn, out, "a")
    assert sha256_of(out / "a.json") == before
