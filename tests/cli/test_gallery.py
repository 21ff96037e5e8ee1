"""`faceserve gallery`: look, rename, erase, carry elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Faceserve = Callable[..., Any]


@pytest.fixture
def enrolled(faceserve: Faceserve, samples: Path) -> Faceserve:
    assert faceserve("enroll", samples / "astronaut.jpg", samples / "grace_hopper.jpg").code == 0
    return faceserve


def names(faceserve: Faceserve, *flags: object) -> list[str]:
    return sorted(line["identity"] for line in faceserve("gallery", "list", *flags).lines)


def test_list_and_show(enrolled: Faceserve) -> None:
    assert names(enrolled) == ["astronaut", "grace_hopper"]
    (shown,) = enrolled("gallery", "show", "astronaut").lines
    assert shown["identity"] == "astronaut"
    (face,) = shown["faces"]
    assert len(face["source_sha256"]) == 64
    assert face["quality"]["score"] > 0


def test_rename(enrolled: Faceserve) -> None:
    assert enrolled("gallery", "rename", "astronaut", "Eileen Collins").code == 0
    assert names(enrolled) == ["Eileen Collins", "grace_hopper"]
    refused = enrolled("gallery", "rename", "Eileen Collins", "grace_hopper")
    assert (refused.code, refused.out) == (1, "")
    assert "grace_hopper" in refused.err


def test_delete_asks_first(enrolled: Faceserve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "empty").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert enrolled("gallery", "delete", "astronaut").code == 1
    assert names(enrolled) == ["astronaut", "grace_hopper"]
    assert enrolled("gallery", "delete", "astronaut", "--yes").lines == [{"identity": "astronaut", "faces_deleted": 1}]
    assert names(enrolled) == ["grace_hopper"]


@pytest.mark.parametrize("command", [("show", "bob"), ("rename", "bob", "carol"), ("delete", "bob", "--yes")])
def test_an_unknown_identity_is_a_plain_line(enrolled: Faceserve, command: tuple[str, ...]) -> None:
    done = enrolled("gallery", *command)
    assert (done.code, done.out) == (1, "")
    assert "bob" in done.err
    assert len(done.err.splitlines()) == 1


def test_without_a_gallery_none_is_made(faceserve: Faceserve, tmp_path: Path) -> None:
    done = faceserve("gallery", "list")
    assert done.code == 2
    assert not (tmp_path / "data").exists()


def test_export_and_import_carry_a_collection_elsewhere(enrolled: Faceserve, tmp_path: Path, samples: Path) -> None:
    there, file = tmp_path / "there", tmp_path / "faces.ndjson"
    assert enrolled("gallery", "export", "--out", file).code == 0
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert records[0]["collection"] == "default"
    assert enrolled("gallery", "import", file, "--data-dir", there).code == 0
    assert names(enrolled, "--data-dir", there) == ["astronaut", "grace_hopper"]
    named = enrolled("recognize", samples / "group.jpg", "--data-dir", there).lines[0]["faces"]
    assert {face["identity"] for face in named} == {"astronaut", "grace_hopper"}
    again = enrolled("gallery", "import", file, "--data-dir", there)
    assert again.code == 0
    assert names(enrolled, "--data-dir", there) == ["astronaut", "grace_hopper"]
    assert not list(tmp_path.glob("*.part"))


def test_what_is_no_export_is_refused(enrolled: Faceserve, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ndjson"
    wrong.write_text("this is no JSON\n")
    done = enrolled("gallery", "import", wrong)
    assert done.code == 1
    assert "line 1" in done.err
