"""`faceserve enroll`: folders in, identities in the gallery, a true summary."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import pytest

Faceserve = Callable[..., Any]


@pytest.fixture
def people(tmp_path: Path, samples: Path) -> Path:
    """Two people, one of them in three pictures; a group, a text file and a picture without a face."""
    folder = tmp_path / "people"
    (folder / "Grace Hopper").mkdir(parents=True)
    picture = cv2.imread(str(samples / "grace_hopper.jpg"))
    assert picture is not None
    mirrored = cv2.flip(picture, 1)
    shutil.copy(samples / "astronaut.jpg", folder / "eileen.jpg")
    shutil.copy(samples / "grace_hopper.jpg", folder / "Grace Hopper" / "1.jpg")
    cv2.imwrite(str(folder / "Grace Hopper" / "2.png"), mirrored)
    cv2.imwrite(str(folder / "Grace Hopper_3.jpg"), mirrored)
    shutil.copy(samples / "group.jpg", folder / "both.jpg")
    (folder / "notes.txt").write_text("not a picture")
    cv2.imwrite(str(folder / "wall.png"), mirrored[:40, :40])
    return folder


def test_a_folder_is_enrolled_and_what_cannot_be_is_reported(faceserve: Faceserve, people: Path) -> None:
    done = faceserve("enroll", people)
    assert done.code == 0
    assert done.out == "enrolled 4 (of 2 identities), already there 0, skipped 3\n"
    skipped = dict(line.removeprefix("skipped ").split(": ", 1) for line in done.err.splitlines())
    assert {Path(path).name for path in skipped} == {"both.jpg", "notes.txt", "wall.png"}
    assert "multiple_faces" in skipped[str(people / "both.jpg")]
    assert "unsupported_media_type" in skipped[str(people / "notes.txt")]
    assert "face_not_found" in skipped[str(people / "wall.png")]
    listed = {line["identity"]: line["faces"] for line in faceserve("gallery", "list").lines}
    assert listed == {"Grace Hopper": 3, "eileen": 1}


def test_again_adds_nothing_and_is_no_failure(faceserve: Faceserve, people: Path) -> None:
    faceserve("enroll", people)
    before = faceserve("gallery", "list").out
    done = faceserve("enroll", people)
    assert done.code == 0
    assert done.out == "enrolled 0 (of 0 identities), already there 4, skipped 3\n"
    assert faceserve("gallery", "list").out == before


def test_strip_digits(faceserve: Faceserve, tmp_path: Path, samples: Path) -> None:
    shutil.copy(samples / "astronaut.jpg", tmp_path / "qys0.jpg")
    faceserve("enroll", "--strip-digits", tmp_path / "qys0.jpg")
    assert [line["identity"] for line in faceserve("gallery", "list").lines] == ["qys"]


def test_into_a_collection_of_its_own(faceserve: Faceserve, samples: Path) -> None:
    faceserve("enroll", "--collection", "visitors", samples / "astronaut.jpg")
    assert [line["identity"] for line in faceserve("gallery", "list", "--collection", "visitors").lines] == [
        "astronaut"
    ]
    assert faceserve("gallery", "list").lines == []


def test_nothing_enrolled_is_a_failure(faceserve: Faceserve, people: Path, tmp_path: Path) -> None:
    done = faceserve("enroll", people / "notes.txt", people / "both.jpg")
    assert done.code == 1
    assert done.out == "enrolled 0 (of 0 identities), already there 0, skipped 2\n"
    (tmp_path / "empty").mkdir()
    assert faceserve("enroll", tmp_path / "empty").code == 2


def test_a_face_that_is_there_under_another_name_is_told(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    faceserve("enroll", samples / "astronaut.jpg")
    collins, eileen = (tmp_path / name / f"{name}.jpg" for name in ("collins", "eileen"))
    for twin in (collins, eileen):
        twin.parent.mkdir()
        shutil.copy(samples / "astronaut.jpg", twin)
    done = faceserve("enroll", collins)
    assert done.code == 0
    assert f"look at {collins}: collins is as similar to astronaut as one person (1.00)" in done.err
    assert "look at" not in faceserve("enroll", eileen, "--no-warn-similar").err


def test_identities_are_enrolled_for_a_while(faceserve: Faceserve, samples: Path) -> None:
    assert faceserve("enroll", samples / "astronaut.jpg", "--ttl", "30d").code == 0
    assert faceserve("enroll", samples / "grace_hopper.jpg").code == 0
    ends = {line["identity"]: line["expires_at"] for line in faceserve("gallery", "list").lines}
    assert ends["grace_hopper"] is None
    left = datetime.fromisoformat(ends["astronaut"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert timedelta(days=29) < left <= timedelta(days=30)
    (shown,) = faceserve("gallery", "show", "astronaut").lines
    assert shown["expires_at"] == ends["astronaut"]


@pytest.mark.parametrize("lifetime", ["0s", "forever", "30", "9999999d"])
def test_what_is_no_lifetime_is_refused(faceserve: Faceserve, samples: Path, lifetime: str) -> None:
    done = faceserve("enroll", samples / "astronaut.jpg", "--ttl", lifetime)
    assert (done.code, done.out) == (2, "")
    assert faceserve("gallery", "list").out == ""
