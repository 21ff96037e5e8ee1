"""`faceserve gallery key|encrypt|decrypt|rekey`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.audit.actor import current
from gallery.local.gallery import LocalGallery

Faceserve = Callable[..., Any]
KEY, OLD_KEY = "FACESERVE_GALLERY_KEY", "FACESERVE_GALLERY_OLD_KEY"


@pytest.fixture
def enrolled(faceserve: Faceserve, samples: Path, monkeypatch: pytest.MonkeyPatch) -> Faceserve:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.delenv(OLD_KEY, raising=False)
    assert faceserve("enroll", samples / "astronaut.jpg", samples / "grace_hopper.jpg").code == 0
    return faceserve


def a_key(faceserve: Faceserve) -> str:
    return str(faceserve("gallery", "key").out.strip())


def named(faceserve: Faceserve, samples: Path) -> set[str]:
    done = faceserve("recognize", samples / "group.jpg")
    assert done.code == 0, done.err
    return {face["identity"] for face in done.lines[0]["faces"]}


def test_encrypt_rekey_and_decrypt(
    enrolled: Faceserve, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_key(enrolled), a_key(enrolled)
    everybody = {"astronaut", "grace_hopper"}

    monkeypatch.setenv(KEY, first)
    refused = enrolled("gallery", "list")
    assert (refused.code, refused.out) == (1, "")
    assert "faceserve gallery encrypt" in refused.err
    told = {"gallery": str(tmp_path / "data" / "gallery"), "encrypted": True, "rows_written": 2}
    assert enrolled("gallery", "encrypt").lines == [told]
    assert enrolled("gallery", "encrypt").lines == [told | {"rows_written": 0}]
    assert named(enrolled, samples) == everybody

    monkeypatch.delenv(KEY)
    refused = enrolled("gallery", "list")
    assert (refused.code, refused.out) == (1, "")
    assert f"set {KEY}" in refused.err

    monkeypatch.setenv(KEY, second)
    assert "not with this key" in enrolled("gallery", "list").err
    monkeypatch.setenv(OLD_KEY, first)
    assert enrolled("gallery", "rekey").lines == [told | {"rows_written": 0}]
    assert enrolled("gallery", "rekey", "--rows").lines == [told | {"rows_written": 0}]  # the old key is none any more

    assert enrolled("gallery", "decrypt").lines == [told | {"encrypted": False}]
    monkeypatch.delenv(KEY)
    assert named(enrolled, samples) == everybody


@pytest.fixture
def empty(faceserve: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faceserve:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.delenv(OLD_KEY, raising=False)
    (tmp_path / "data" / "gallery").mkdir(parents=True)
    LocalGallery(tmp_path / "data" / "gallery").close()
    return faceserve


def test_each_is_recorded_whichever_way_it_ends(
    empty: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_key(empty), a_key(empty)
    monkeypatch.setenv("FACESERVE_AUDIT", "changes")
    monkeypatch.setenv(KEY, first)
    assert empty("gallery", "encrypt").code == 0
    monkeypatch.setenv(KEY, second)
    assert empty("gallery", "decrypt").code == 1
    monkeypatch.setenv(OLD_KEY, first)
    rekeyed = empty("gallery", "rekey")
    assert (rekeyed.code, "restart the services" in rekeyed.err) == (0, True)
    assert empty("gallery", "decrypt").code == 0
    lines = empty("audit", "--collection", "default").lines
    refused = lines[3]["outcome"]
    said = [(line["deed"], line["outcome"], line.get("rows")) for line in lines]
    assert said == [
        *(("encrypt", "begun", None), ("encrypt", "ok", 0)),
        *(("decrypt", "begun", None), ("decrypt", refused, None)),
        *(("rekey", "begun", None), ("rekey", "ok", 0)),
        *(("decrypt", "begun", None), ("decrypt", "ok", 0)),
    ]
    assert refused not in {"ok", "begun", "internal"}
    assert {line["who"] for line in lines} == {current().who}
    files = b"".join(path.read_bytes() for path in (tmp_path / "data" / "audit").iterdir())
    assert [key for key in (first, second) if key.encode() in files] == []


def test_without_a_key_it_is_asked_for_and_nothing_recorded(
    empty: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESERVE_AUDIT", "changes")
    for command in ("encrypt", "decrypt", "rekey"):
        done = empty("gallery", command)
        assert (done.code, done.out) == (2, "")
        assert "is not set" in done.err
    assert not (tmp_path / "data" / "audit").exists()


def test_what_is_no_key_is_not_shown(empty: Faceserve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "correct horse battery staple")
    done = empty("gallery", "list")
    assert done.code == 2
    assert KEY in done.err
    assert "horse" not in done.err


def test_without_a_gallery_none_is_made(faceserve: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, a_key(faceserve))
    assert faceserve("gallery", "encrypt").code == 2
    assert not (tmp_path / "data").exists()


def test_a_new_gallery_is_encrypted_from_the_start(
    faceserve: Faceserve, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, a_key(faceserve))
    assert faceserve("enroll", samples / "astronaut.jpg").code == 0
    assert faceserve("gallery", "encrypt").lines[0]["rows_written"] == 0
    monkeypatch.delenv(KEY)
    assert faceserve("gallery", "list").code == 1
