"""`faceserve gallery migrate`: a gallery carried elsewhere, compared, and its exit code."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Faceserve = Callable[..., Any]


@pytest.fixture
def filled(faceserve: Faceserve, samples: Path) -> Faceserve:
    """`default` with two people, and `staff`, empty, on terms of its own."""
    assert faceserve("enroll", samples / "astronaut.jpg", samples / "grace_hopper.jpg").code == 0
    assert faceserve("gallery", "create", "staff", "--scoring", "mean", "--max-faces", 3).code == 0
    return faceserve


def test_a_gallery_is_carried_elsewhere_and_compared(filled: Faceserve, samples: Path, tmp_path: Path) -> None:
    done = filled("gallery", "migrate", tmp_path / "data", tmp_path / "there")
    assert (done.code, done.err) == (0, "")
    default, staff = done.lines
    assert (default["collection"], default["into"]) == ("default", "default")
    assert (default["identities"], default["faces"], default["skipped"], default["same"]) == (2, 2, 0, True)
    assert default["source"] == default["target"] == default["sent"]
    assert len(default["source"]["digest"]) == 64
    assert (staff["collection"], staff["same"], staff["source"]["digest"]) == ("staff", True, "0" * 64)
    named = filled("recognize", samples / "group.jpg", "--data-dir", tmp_path / "there").lines[0]["faces"]
    assert {face["identity"] for face in named} == {"astronaut", "grace_hopper"}
    there = filled("gallery", "collections", "--data-dir", tmp_path / "there").lines
    assert [(line["name"], line["scoring"], line["max_faces"]) for line in there] == [
        ("default", "max", None),
        ("staff", "mean", 3),
    ]
    again = filled("gallery", "migrate", tmp_path / "data", tmp_path / "there")
    assert [(line["faces"], line["skipped"], line["same"]) for line in again.lines] == [(0, 2, True), (0, 0, True)]


def test_some_of_it_under_another_name(filled: Faceserve, tmp_path: Path) -> None:
    to = tmp_path / "there"
    done = filled("gallery", "migrate", tmp_path / "data", to, "--collection", "default", "--into", "archive")
    assert [(line["collection"], line["into"], line["same"]) for line in done.lines] == [("default", "archive", True)]
    assert [line["name"] for line in filled("gallery", "collections", "--data-dir", to).lines] == ["archive"]


def test_no_model_is_needed(filled: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_EMBEDDER", "one_that_nobody_has")
    assert filled("gallery", "migrate", tmp_path / "data", tmp_path / "there").code == 0


def test_one_side_may_be_encrypted_and_the_other_not(
    filled: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = filled("gallery", "key").out.strip()
    monkeypatch.setenv("FACESERVE_GALLERY_KEY", key)
    refused = filled("gallery", "migrate", "data", "sealed")
    assert (refused.code, refused.out) == (1, "")
    assert "not encrypted" in refused.err
    assert filled("gallery", "migrate", "data", "sealed", "--plain", "from").code == 0
    back = filled("gallery", "migrate", "sealed", "open", "--plain", "to")
    assert [line["same"] for line in back.lines] == [True, True]
    monkeypatch.delenv("FACESERVE_GALLERY_KEY")
    assert [line["faces"] for line in filled("gallery", "migrate", "data", "open").lines] == [0, 0]


def test_the_audit_beside_each_gallery_tells_of_it(
    filled: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESERVE_AUDIT", "changes")
    assert filled("gallery", "migrate", "data", "there").code == 0
    assert b"export" in b"".join(path.read_bytes() for path in (tmp_path / "data" / "audit").rglob("*.*"))
    assert b"import" in b"".join(path.read_bytes() for path in (tmp_path / "there" / "audit").rglob("*.*"))


def test_a_dash_is_the_configured_gallery(filled: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line["same"] for line in filled("gallery", "migrate", "-", "there").lines] == [True, True]
    monkeypatch.setenv("FACESERVE_DATA_DIR", str(tmp_path / "there"))
    assert [line["skipped"] for line in filled("gallery", "migrate", "data", "-").lines] == [2, 0]
    assert filled("gallery", "migrate", "there", "-").code == 2


def test_into_a_milvus_without_a_password_in_sight(filled: Faceserve, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    url = f"milvus://{tmp_path}/milvus.db"
    done = filled("gallery", "migrate", "data", url)
    assert done.code == 1
    assert [(line["collection"], line["faces"], line["same"]) for line in done.lines] == [("default", 2, True)]
    assert "collection 'staff': " in done.err  # which scores by the mean
    secret = "milvus://root:secret@host:19530"
    assert "secret" not in filled("gallery", "migrate", secret, secret).err


def test_a_difference_ends_with_code_1_and_says_what_to_do(filled: Faceserve, tmp_path: Path) -> None:
    assert filled("gallery", "migrate", tmp_path / "data", tmp_path / "there").code == 0
    with sqlite3.connect(tmp_path / "there" / "gallery" / "gallery.db") as connection:
        connection.execute("UPDATE identities SET metadata = '{\"a\":1}' WHERE key = 1")
    connection.close()
    done = filled("gallery", "migrate", tmp_path / "data", tmp_path / "there")
    assert done.code == 1
    assert [line["same"] for line in done.lines] == [False, True]
    assert len(done.err.splitlines()) == 1
    assert "'default' and its copy 'default' differ" in done.err
    assert "migrate again" in done.err


def test_what_does_not_fit_is_refused_before_anything_is_copied(filled: Faceserve, tmp_path: Path) -> None:
    to = tmp_path / "there"
    assert filled("gallery", "create", "staff", "--data-dir", to).code == 0
    done = filled("gallery", "migrate", tmp_path / "data", to)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "other terms (scoring max, not mean; max_faces None, not 3)" in done.err
    assert [line["name"] for line in filled("gallery", "collections", "--data-dir", to).lines] == ["staff"]


def test_what_fails_for_one_is_told_and_the_others_go_over(filled: Faceserve, samples: Path, tmp_path: Path) -> None:
    somebody_else = shutil.copy(samples / "grace_hopper.jpg", tmp_path / "astronaut.jpg")
    assert filled("enroll", somebody_else, "--data-dir", "there").code == 0
    done = filled("gallery", "migrate", "data", "there")
    assert done.code == 1
    assert [(line["collection"], line["same"]) for line in done.lines] == [("staff", True)]
    assert "collection 'default': 'astronaut' is already another identity" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "data"),
        ("data", "./data"),
        ("data", "-"),
        ("nowhere", "there"),
        ("data", "there", "--into", "one"),
    ],
)
def test_what_makes_no_sense_is_refused(filled: Faceserve, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = filled("gallery", "migrate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "nowhere").exists()


def test_an_export_that_was_changed_is_refused_in_one_line(filled: Faceserve, tmp_path: Path) -> None:
    file = tmp_path / "faces.ndjson"
    assert filled("gallery", "export", "--out", file).code == 0
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records[-1]["digest"]) == 64
    records[1]["metadata"] = {"changed": True}
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = filled("gallery", "import", file, "--data-dir", tmp_path / "there")
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "digest" in done.err
    assert "stays" in done.err
