"""`faceserve models`: what is there, whether it is whole, and how more gets in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Faceserve = Callable[..., Any]


def test_the_shipped_pair_is_listed_and_whole(faceserve: Faceserve) -> None:
    listed = {line["name"]: line for line in faceserve("models", "list").lines}
    assert listed["retinaface_mnet025"]["sizes"] == ["640x640", "192x192"]
    assert listed["mobilefacenet_256"]["dimension"] == 256
    assert all(line["licence"] for line in listed.values())
    done = faceserve("models", "verify")
    assert done.code == 0
    assert {line["name"]: line["digest"] for line in done.lines} == {n: m["digest"] for n, m in listed.items()}


def test_verify_refuses_an_unknown_name(faceserve: Faceserve) -> None:
    done = faceserve("models", "verify", "facenet")
    assert (done.code, done.out) == (1, "")
    assert "retinaface_mnet025" in done.err


@pytest.mark.parametrize(
    "flags",
    [
        ("--family", "retinaface", "--size", "640"),
        ("--family", "arcface", "--mean", "a,b"),
        ("--family", "arcface", "--channels", "gbr"),
        ("--family", "arcface", "--verify-threshold", "0.3"),
    ],
)
def test_import_refuses_flags_that_make_no_sense(faceserve: Faceserve, tmp_path: Path, flags: tuple[str, ...]) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"")
    done = faceserve("models", "import", file, *flags)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_import_refuses_what_is_no_network(faceserve: Faceserve, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"this is no network")
    done = faceserve("models", "import", file, "--family", "arcface")
    assert done.code == 1
    assert "net.onnx" in done.err
    assert [line["name"] for line in faceserve("models", "list").lines] == ["mobilefacenet_256", "retinaface_mnet025"]


def test_an_imported_model_serves_until_its_bytes_change(
    faceserve: Faceserve, shared: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shared / "models" / "default" / "retinaface_mnet025.onnx"
    flags = ("--family", "retinaface", "--name", "mine", "--size", "320x320", "--licence", "own")
    done = faceserve("models", "import", file, *flags)
    assert done.code == 0, done.err
    (shown,) = done.lines
    assert (shown["sizes"], shown["licence"]) == (["320x320"], "own")
    assert faceserve("models", "verify", "mine").code == 0

    monkeypatch.setenv("FACESERVE_DETECTOR", "mine")
    (answer,) = faceserve("detect", samples / "group.jpg").lines
    assert answer["model"]["detector"] == "mine"
    assert len(answer["faces"]) == 2

    graph = next(Path(shown["folder"]).glob("*.onnx"))
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    done = faceserve("models", "verify", "mine")
    assert done.code == 1
    assert str(graph) in done.err
