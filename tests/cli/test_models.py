"""`faceserve models`: what is there, whether it is whole, and how more gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.catalogue import OFFERS, PACKS, Licence, Offer, Pack
from tests.engines.downloads.file_server import FileServer, serving
from tests.engines.downloads.tiny import network, upstream

Faceserve = Callable[..., Any]


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def offer(files: FileServer, name: str) -> Offer:
    """A tiny embedder under a licence that has to be accepted; `files` serves it."""
    files.files[f"{name}.onnx"] = content = network(3)
    licence = Licence("research only", "https://example.org", commercial_use=False, accept="example")
    file = upstream(f"{name}.onnx", content, files.download(f"{name}.onnx"))
    return Offer(name, "embedder", "arcface", (file,), licence, "https://example.org")


def test_the_shipped_pair_is_listed_and_whole(faceserve: Faceserve) -> None:
    listed = {line["name"]: line for line in faceserve("models", "list").lines if line["installed"]}
    assert listed["retinaface_mnet025"]["sizes"] == ["640x640", "192x192"]
    assert listed["mobilefacenet_256"]["dimension"] == 256
    assert all(line["licence"] for line in listed.values())
    done = faceserve("models", "verify")
    assert done.code == 0
    assert {line["name"]: line["digest"] for line in done.lines} == {n: m["digest"] for n, m in listed.items()}


def test_what_can_be_pulled_is_listed_with_its_licence(faceserve: Faceserve) -> None:
    offered = {line["name"]: line for line in faceserve("models", "list").lines if not line["installed"]}
    assert list(offered) == list(OFFERS)
    assert (offered["yunet_2023mar"]["licence"], offered["yunet_2023mar"]["commercial_use"]) == ("MIT", True)
    large = offered["w600k_r50"]
    assert (large["commercial_use"], large["accept_licence"]) == (False, "insightface-non-commercial")
    assert (large["size_bytes"], large["download_bytes"]) == (174_383_860, 275_951_529)


def test_info_tells_everything(faceserve: Faceserve) -> None:
    (shipped,) = faceserve("models", "info", "mobilefacenet_256").lines
    assert shipped["thresholds"].keys() == {"verify", "verify_far", "recognize", "table", "note"}
    assert [file["name"] for file in shipped["files"]] == ["112x112.onnx"]
    (offered,) = faceserve("models", "info", "sface_2021dec").lines
    assert offered["expected"] == "what its family usually expects"
    assert offered["thresholds"]["verify_far"] is None
    assert offered["files"][0]["found_in"][0]["urls"][0].startswith("https://github.com/opencv/opencv_zoo/")
    pack, detector, embedder = faceserve("models", "info", "buffalo_s").lines
    assert pack["models"] == ["det_500m", "w600k_mbf"]
    assert len(detector["landmark_order"]) == 5
    assert embedder["crop"] == "template"
    done = faceserve("models", "info", "nothing")
    assert done.code == 1
    assert "buffalo_s" in done.err


def test_pull_takes_a_pack_from_the_net(
    faceserve: Faceserve, files: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = offer(files, "mine")
    monkeypatch.setitem(OFFERS, "mine", wanted)
    monkeypatch.setitem(PACKS, "pack", Pack("pack", ("mobilefacenet_256", "mine"), ""))
    done = faceserve("models", "pull", "pack", "mine")
    assert done.code == 1
    assert "research only. Read https://example.org" in done.err
    done = faceserve("models", "pull", "pack", "mine", "--accept-licence", "example", "--mirror", f"{files.address}/m")
    assert [(line["name"], line["pulled"]) for line in done.lines] == [("mobilefacenet_256", False), ("mine", True)]
    assert done.err == ""
    assert [path for path, _ in files.asked] == ["/m/mine.onnx"]
    assert faceserve("models", "verify", "mine").code == 0
    (again,) = faceserve("models", "pull", "mine").lines
    assert not again["pulled"]
    assert list((tmp_path / "data" / "downloads").iterdir()) == []


def test_bars_are_for_people_and_answers_for_programs(
    faceserve: Faceserve, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFERS, "mine", offer(files, "mine"))
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal then
    done = faceserve("models", "pull", "mine", "--accept-licence", "example")
    assert [line["name"] for line in done.lines] == ["mine"]
    assert "mine.onnx" in done.err


def test_pull_works_offline_and_says_what_is_missing(
    faceserve: Faceserve, files: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(OFFERS, "mine", offer(files, "mine"))
    flags = ("--accept-licence", "example", "--from", tmp_path)
    done = faceserve("models", "pull", "mine", *flags)
    assert (done.code, done.err) == (1, f"faceserve: {tmp_path} has no mine.onnx\n")
    (tmp_path / "mine.onnx").write_bytes(files.files["mine.onnx"])
    (line,) = faceserve("models", "pull", "mine", *flags).lines
    assert (line["pulled"], line["commercial_use"]) == (True, False)
    assert files.asked == []
    done = faceserve("models", "pull", "yours")
    assert done.code == 1
    assert "yunet+sface" in done.err


def test_remove_keeps_what_ships_and_what_is_in_use(
    faceserve: Faceserve, files: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.onnx"
    offer(files, "mine")
    file.write_bytes(files.files["mine.onnx"])
    urls = ("--url", "https://example.org/a", "--url", "https://example.org/b")
    done = faceserve("models", "import", file, "--family", "arcface", "--note", "Of ours.", *urls)
    assert done.code == 0, done.err
    (told,) = faceserve("models", "info", "mine").lines
    assert told["note"].startswith("Of ours.")
    assert told["urls"] == ["https://example.org/a", "https://example.org/b"]

    done = faceserve("models", "remove", "mobilefacenet_256", "--force")
    assert done.code == 1
    assert "comes with the source" in done.err
    monkeypatch.setenv("FACESERVE_EMBEDDER", "mine")
    done = faceserve("models", "remove", "mine")
    assert done.code == 2
    assert "FACESERVE_EMBEDDER" in done.err
    assert faceserve("models", "verify", "mine").code == 0
    assert faceserve("models", "remove", "mine", "--force").lines == [{"name": "mine", "removed": True}]
    assert faceserve("models", "verify", "mine").code == 1


def test_thresholds_given_at_import_have_no_far(faceserve: Faceserve, tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(network(3))
    flags = ("--family", "arcface", "--verify-threshold", "0.3", "--recognize-threshold", "0.4")
    done = faceserve("models", "import", file, *flags)
    assert done.code == 0, done.err
    (told,) = faceserve("models", "info", "mine").lines
    given: dict[str, object] = {
        "verify": 0.3,
        "verify_far": None,
        "recognize": 0.4,
        "table": [],
        "note": "given at import",
    }
    assert told["thresholds"] == given


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
    installed = [line["name"] for line in faceserve("models", "list").lines if line["installed"]]
    assert installed == ["mobilefacenet_256", "retinaface_mnet025"]


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
