"""`faceserve audit`: what happened to somebody, who did it, and whether the record is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.audit.actor import current
from app.audit.trail import files_of

Faceserve = Callable[..., Any]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data of `recorded` are kept, for making them takes a second."""
    return tmp_path_factory.mktemp("recorded") / "data"


@pytest.fixture
def recorded(
    faceserve: Faceserve, samples: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Faceserve:
    """Two people enrolled and looked for, one renamed and erased, all of it recorded."""
    if kept.exists():
        shutil.copytree(kept, tmp_path / "data")
        monkeypatch.setenv("FACESERVE_AUDIT", "off")
        return faceserve
    monkeypatch.setenv("FACESERVE_AUDIT", "all")
    assert faceserve("enroll", samples / "astronaut.jpg", samples / "grace_hopper.jpg").code == 0
    assert faceserve("recognize", samples / "group.jpg").code == 0
    assert faceserve("gallery", "rename", "astronaut", "Eileen").code == 0
    assert faceserve("gallery", "delete", "Eileen", "--yes").code == 0
    monkeypatch.setenv("FACESERVE_AUDIT", "off")
    shutil.copytree(tmp_path / "data", kept)
    return faceserve


def deeds(faceserve: Faceserve, *flags: object) -> list[str]:
    return [line["deed"] for line in faceserve("audit", *flags).lines]


def test_what_happened_to_somebody(recorded: Faceserve) -> None:
    hers = deeds(recorded, "--identity", "astronaut")
    assert [deed for deed in hers if deed != "compare"] == ["create_collection", "enroll", "search", "rename"]
    assert deeds(recorded, "--identity", "Eileen") == [
        "create_collection",
        "rename",
        "show",
        "erase",
    ]
    assert deeds(recorded, "--identity", "nobody") == ["create_collection"]
    (erased,) = recorded("audit", "--identity", "Eileen", "--deed", "erase").lines
    assert (erased["outcome"], erased["faces"], erased["who"]) == ("ok", 1, current().who)
    assert erased["who"].startswith("cli:")
    before = recorded("audit", "--subject", erased["subjects"][0]).lines
    assert before[-1] == erased


def test_what_was_asked_is_all_that_is_shown(recorded: Faceserve) -> None:
    every = recorded("audit").lines
    assert [line["n"] for line in every] == list(range(1, len(every) + 1))
    (search,) = recorded("audit", "--deed", "search").lines
    assert (search["faces"], search["found"], len(search["subjects"])) == (2, 2, 2)
    assert 0 < search["threshold"] < 1
    at = search["at"]
    earlier, later = recorded("audit", "--until", at).lines, recorded("audit", "--since", at).lines
    assert (earlier + later, later[0]) == (every, search)
    assert deeds(recorded, "--collection", "another") == []
    assert deeds(recorded, "--who", "somebody") == []
    assert recorded("audit", "--who", current().who).lines == every
    assert deeds(recorded, "--since", "2999-01-01") == []
    assert recorded("audit", "--since", at.replace("+00:00", "Z")).lines == later
    assert deeds(recorded, "--identity", "Zo\u0308e \U0001f600\udcff\u202e", "--deed", "erase") == []
    wrong = recorded("audit", "--since", "yesterday")
    assert (wrong.code, "2026-11-21T18:00" in wrong.err) == (2, True)


def test_verify(recorded: Faceserve, tmp_path: Path) -> None:
    (whole,) = recorded("audit", "verify").lines
    assert (whole["whole"], whole["lines"], whole["first"]) == (True, len(recorded("audit").lines), 1)
    assert recorded("audit", "verify", "--known", whole["end"]).code == 0
    other = recorded("audit", "verify", "--known", f"3:{64 * 'a'}")
    assert (other.code, "broken: number 3 is not here with the digest aaa" in other.err) == (1, True)
    assert recorded("audit", "verify", "--known", "3").code == 2
    (file,) = files_of(tmp_path / "data" / "audit")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2] + lines[3:]))
    broken = recorded("audit", "verify")
    assert broken.code == 1
    assert json.loads(broken.out)["whole"] is False
    assert broken.err == "broken: 000000000001.ndjson, line 3: numbers 3 to 3 are missing\n"


def test_whom_lines_of_a_lost_key_are_about_is_not_known(recorded: Faceserve, tmp_path: Path) -> None:
    (tmp_path / "data" / "audit.key").write_bytes(bytes(32))
    lost = recorded("audit", "--identity", "Eileen")
    assert [line["deed"] for line in lost.lines] == ["create_collection"]
    assert "is not known here" in lost.err
    (tmp_path / "data" / "audit.key").unlink()
    none = recorded("audit", "--identity", "Eileen")
    assert (none.code, "put it back, or ask by --subject" in none.err) == (1, True)
    assert not (tmp_path / "data" / "audit.key").exists()


def test_without_an_audit_none_is_made(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    assert faceserve("enroll", samples / "astronaut.jpg").code == 0
    for command in (["audit"], ["audit", "verify"]):
        done = faceserve(*command)
        assert (done.code, "FACESERVE_AUDIT" in done.err) == (2, True)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"gallery"}


def test_a_command_whose_line_cannot_be_written_says_so(
    recorded: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESERVE_AUDIT", "changes")
    folder = tmp_path / "data" / "audit"
    for file in [*folder.iterdir()]:
        file.unlink()
    (folder / "mark").mkdir()
    done = recorded("gallery", "delete", "grace_hopper", "--yes")
    assert (done.code, done.out) == (1, "")
    assert "may have been done" in done.err
