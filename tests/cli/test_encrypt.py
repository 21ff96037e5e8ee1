"""`faceserve gallery key|encrypt|decrypt|rekey`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    everybody = named(enrolled, samples)
    assert everybody == {"astronaut", "grace_hopper"}

    monkeypatch.setenv(KEY, first)
    refused = enrolled("gallery", "list")
    assert (refused.code, refused.out) == (1, "")
    assert "faceserve gallery encrypt" in refused.err
    told = {"gallery": str(tmp_path / "data" / "gallery"), "encrypted": True, "rows_written": 2}
    assert enrolled("gallery", "encrypt").lines == [told]
    assert enrolled("gallery", "encrypt").lines == [told | {"rows_written": 0}]
    assert named(enrolled, samples) == everybody

    monkeypatch.delenv(KEY)
    refused = enrolled("recognize", samples / "group.jpg")
    assert (refused.code, refused.out) == (1, "")
    assert f"set {KEY}" in refused.err

    monkeypatch.setenv(KEY, second)
    assert "not with this key" in enrolled("gallery", "list").err
    monkeypatch.setenv(OLD_KEY, first)
    assert enrolled("gallery", "rekey").lines == [told | {"rows_written": 0}]
    assert enrolled("gallery", "rekey", "--rows").lines == [told | {"rows_written": 0}]  # the old key is none any more
    assert named(enrolled, samples) == everybody

    assert enrolled("gallery", "decrypt").lines == [told | {"encrypted": False}]
    monkeypatch.delenv(KEY)
    assert named(enrolled, samples) == everybody


@pytest.mark.parametrize("command", ["encrypt", "decrypt", "rekey"])
def test_without_a_key_it_is_asked_for(enrolled: Faceserve, command: str) -> None:
    done = enrolled("gallery", command)
    assert (done.code, done.out) == (2, "")
    assert "is not set" in done.err


def test_what_is_no_key_is_not_shown(enrolled: Faceserve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "correct horse battery staple")
    done = enrolled("gallery", "list")
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
