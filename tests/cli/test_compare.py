"""`faceserve compare` on a machine without a GPU: the table, the JSON, the pictures, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.compare import _show
from engines.models import ModelStore
from tests.boxes_only import write_boxes_only

Faceserve = Callable[..., Any]
DETECTOR, EMBEDDER = "retinaface_mnet025", "mobilefacenet_256"


def test_a_detector(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    done = faceserve(
        *("compare", DETECTOR, "--device", "cpu", "--image", samples / "group.jpg"),
        *("--size", "640x640", "--pictures", tmp_path / "drawn"),
    )
    assert done.code == 0, done.err
    (told,) = done.lines
    assert (told["model"], told["size"], told["photos"]) == (DETECTOR, [640, 640], ["group.jpg"])
    assert [row["engine"] for row in told["compared"]] == [
        "ONNX Runtime CPU, fp32 graph",
        "ONNX Runtime CPU, fp16 graph",
    ]
    assert all(row["agrees"] and row["faces"]["matched"] == 2 for row in told["compared"])
    assert (tmp_path / "drawn" / "group-640x640.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "same faces" in done.err
    assert "2 of 2" in done.err
    assert "agrees" in done.err


def test_an_embedder_into_a_file(faceserve: Faceserve, tmp_path: Path) -> None:
    done = faceserve(
        "compare",
        EMBEDDER,
        "--device",
        "cpu",
        "--precision",
        "mixed",
        "--batch",
        2,
        "--json",
        tmp_path / "a" / "b.json",
    )
    assert done.code == 0, done.err
    assert done.out == ""
    (told,) = json.loads((tmp_path / "a" / "b.json").read_bytes())
    (row,) = told["compared"]
    assert row["precision"] == "mixed"
    assert row["crops"] == 5
    assert 0.999 <= row["cosine"]["min"] <= row["cosine"]["mean"] <= 1
    assert "cosine, least and mean" in done.err


def test_all_sizes_have_a_line(faceserve: Faceserve, samples: Path) -> None:
    done = faceserve("compare", DETECTOR, "--device", "cpu", "--precision", "fp16", "--image", samples / "face.jpg")
    assert [line["size"] for line in done.lines] == [[640, 640], [192, 192]]


def test_a_detector_without_landmarks_and_two_photos_of_one_name(
    faceserve: Faceserve, samples: Path, tmp_path: Path
) -> None:
    namesake = tmp_path / "group.jpg"
    namesake.write_bytes((samples / "group.jpg").read_bytes())
    write_boxes_only(ModelStore(tmp_path / "data" / "models"))
    done = faceserve(
        *("compare", "boxes_only", "--device", "cpu", "--precision", "fp16", "--image", samples / "group.jpg"),
        *("--image", namesake, "--size", "192x192", "--pictures", tmp_path / "drawn"),
    )
    assert done.code == 0, done.err
    (row,) = done.lines[0]["compared"]
    assert (row["faces"]["matched"], row["landmarks_px"]) == (4, {"max": None, "mean": None})
    assert row["agrees"]
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_a_pair_that_is_apart_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    face = {"photo": "a.jpg", "score": 0.9, "iou": 0.5, "tie": None}
    faces = {"matched": 2, "reference": 2}
    row: dict[str, Any] = {"engine": "it", "agrees": False, "faces": faces, "unmatched": []}
    row |= {key: {"min": None, "max": None, "mean": None} for key in ("iou", "landmarks_px", "scores")}
    row["apart"] = [face | {"landmarks_px": 1.25}, face | {"landmarks_px": None}]
    _show({"model": "m", "size": [8, 8], "reference": "r", "task": "detector", "compared": [row], "left_out": []})
    *_, one, other = capsys.readouterr().err.splitlines()
    assert one == "it has a face of a.jpg elsewhere: score 0.900, IoU 0.500, landmarks 1.25 px"
    assert other == "it has a face of a.jpg elsewhere: score 0.900, IoU 0.500"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nobody"], 1, "no model 'nobody'"),
        ([DETECTOR, "--size", "320x320"], 2, "has 640x640, 192x192"),
        ([DETECTOR, "--precision", "int8"], 2, "int8"),
        ([EMBEDDER, "--pictures", "drawn"], 2, "--pictures draws what a detector finds"),
        ([EMBEDDER, "--photos", "."], 2, "has no photos"),
    ],
)
def test_what_makes_no_sense(faceserve: Faceserve, arguments: list[str], code: int, said: str) -> None:
    done = faceserve("compare", *arguments, "--device", "cpu")
    assert done.code == code
    assert said in " ".join(done.err.replace("│", " ").split())
