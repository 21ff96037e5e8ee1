"""`faceserve detect`, `recognize` and `demo` on the sample photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.sdk import open_pipeline

Faceserve = Callable[..., Any]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no picture at all")
    return path


def test_detect_answers_each_picture_in_order(faceserve: Faceserve, samples: Path) -> None:
    done = faceserve("detect", samples / "astronaut.jpg", samples / "group.jpg")
    assert done.code == 0
    one, both = done.lines
    assert one["file"].endswith("astronaut.jpg")
    assert [len(one["faces"]), len(both["faces"])] == [1, 2]
    assert one["image"] == {"width": 512, "height": 512}
    box = one["faces"][0]["box"]
    assert box["x"] < 225 < box["x"] + box["w"]
    assert box["y"] < 110 < box["y"] + box["h"]


def test_a_picture_that_is_refused_stops_no_other(faceserve: Faceserve, samples: Path, broken: Path) -> None:
    done = faceserve("detect", broken, samples / "astronaut.jpg")
    assert done.code == 1
    refused, one = done.lines
    assert refused["file"] == str(broken)
    assert refused["code"] == "unsupported_media_type"
    assert len(one["faces"]) == 1


def test_detect_takes_the_routes_options(faceserve: Faceserve, samples: Path) -> None:
    done = faceserve(
        "detect", samples / "group.jpg", "--max-faces", 1, "--normalized", "--return", "quality", "--return", "crop"
    )
    (face,) = done.lines[0]["faces"]
    assert all(0 <= value <= 1 for value in face["box"].values())
    assert face["quality"]["size_px"] > 50
    assert face["crop"]
    assert "landmarks" not in face


def test_recognize_takes_a_filter_and_a_margin(faceserve: Faceserve, samples: Path) -> None:
    photos = [samples / "astronaut.jpg", samples / "grace_hopper.jpg"]
    assert faceserve("enroll", *photos).code == 0
    with open_pipeline(data_dir=Path("data")) as faces:
        faces.service.gallery.update_identity("default", "astronaut", metadata={"agency": "NASA", "flights": 4})

    def names(*flags: object) -> list[str | None]:
        (line,) = faceserve("recognize", photos[0], *flags).lines
        return [face["identity"] for face in line["faces"]]

    assert names("--filter", "agency=NASA", "--filter", "agency=ESA", "--filter", "flights=4") == ["astronaut"]
    assert names("--filter", 'flights="4"') == [None]
    assert names("--min-margin", "0.1") == ["astronaut"]
    assert names("--min-margin", "2") == [None]
    refused = faceserve("recognize", photos[0], "--filter", "agency")
    assert refused.code == 2
    assert "expected KEY=VALUE" in refused.err


@pytest.mark.parametrize("name", ["drawn.jpg", "deep/drawn.png"])
def test_annotate_writes_a_file(faceserve: Faceserve, samples: Path, tmp_path: Path, name: str) -> None:
    done = faceserve("detect", samples / "group.jpg", "--annotate", tmp_path / name)
    assert done.code == 0
    data = (tmp_path / name).read_bytes()
    assert data.startswith(b"\x89PNG" if name.endswith("png") else b"\xff\xd8\xff")
    drawn, plain = (cv2.imread(str(path)) for path in (tmp_path / name, samples / "group.jpg"))
    assert drawn is not None
    assert plain is not None
    assert drawn.shape == plain.shape
    assert np.abs(drawn.astype(int) - plain).max() > 100


def test_annotate_writes_several_into_a_folder(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    faceserve("detect", samples / "group.jpg", samples / "astronaut.jpg", "--annotate", tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["astronaut.jpg", "group.jpg"]


def test_recognize_names_who_is_enrolled_and_nobody_else(faceserve: Faceserve, samples: Path) -> None:
    assert faceserve("enroll", samples / "grace_hopper.jpg").code == 0
    done = faceserve("recognize", samples / "group.jpg")
    assert done.code == 0
    by_place = sorted(done.lines[0]["faces"], key=lambda face: face["box"]["x"])
    assert [face["identity"] for face in by_place] == ["grace_hopper", None]
    assert by_place[0]["similarity"] > done.lines[0]["threshold"]
    strict = faceserve("recognize", samples / "group.jpg", "--threshold", "0.9999").lines[0]
    assert [face["identity"] for face in strict["faces"]] == [None, None]


def test_an_unknown_collection_is_said_once(faceserve: Faceserve, samples: Path) -> None:
    done = faceserve("recognize", samples / "group.jpg", samples / "astronaut.jpg", "--collection", "nowhere")
    assert (done.code, done.out) == (1, "")
    assert "nowhere" in done.err
    assert len(done.err.splitlines()) == 1


def test_demo_names_both_and_leaves_the_gallery_alone(faceserve: Faceserve, tmp_path: Path) -> None:
    done = faceserve("demo", "--out", tmp_path / "shown")
    assert done.code == 0
    by_place = sorted(done.lines[0]["faces"], key=lambda face: face["box"]["x"])
    assert [face["identity"] for face in by_place] == ["Grace Hopper", "Eileen Collins"]
    assert (tmp_path / "shown" / "group.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert not (tmp_path / "data").exists()
