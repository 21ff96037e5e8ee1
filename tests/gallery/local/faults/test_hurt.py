"""A disk that is full, failing or read-only, at every call that changes a file: said plainly, nothing lost, mended."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gallery.local.faults import tracing
from tests.gallery.local.faults.test_killed import CRASHES, ROOT

UNTRACED = tracing.why_not(failing=True)
STEP = "1" if CRASHES > 100 else "9"


def said(*command: str) -> list[Any]:
    """The lines of JSON that a program of this folder says."""
    done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, cwd=ROOT, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(UNTRACED is not None, reason=f"{UNTRACED}")
@pytest.mark.parametrize(
    ("deed", "fault", "error", "words"),
    [
        ("enrol", "ENOSPC", "StorageFullError", "the disk is full, nothing was written; free some space"),
        ("erase", "ENOSPC", "StorageFullError", "the disk is full"),
        ("erase", "EIO", "StorageError", "the kernel's log"),
        ("enrol", "EROFS", "StorageError", "nothing was written"),
    ],
)
def test_a_disk_that_fails(tmp_path: Path, deed: str, fault: str, error: str, words: str) -> None:
    seen = said("tests.gallery.local.faults.hurting", str(tmp_path), deed, fault, STEP)
    assert [each for each in seen if each["wrong"]] == []
    # What could not be written is not there, and says so; what is gone, but not yet from the files, says that.
    told = {"before": error, "after": "EraseIncompleteError"}
    assert [each for each in seen if each["said"] and each["said"] != told[each["during"]]] == []
    assert [each for each in seen if not each["said"] and each["during"] != "after"] == []
    assert {each["said"] for each in seen} >= {error, *(["EraseIncompleteError"] if deed == "erase" else [])}
    assert all(words in each["message"] for each in seen if each["said"] == error)


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Runs `mounted.py` on a file system of 2 MB that nobody else sees."""
    program = 'mount -t tmpfs -o size=2m none "$1" && exec "$0" -m tests.gallery.local.faults.mounted "$1" "$2"'
    alone = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare"):
        pytest.skip("needs unshare(1)")
    trial = [*alone, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"may not mount a file system here: {tried.stderr.strip()}")

    def run(what: str) -> dict[str, Any]:
        command = [*alone, "sh", "-c", program, sys.executable, str(tmp_path), what]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_a_disk_that_is_full(mounted: Callable[[str], dict[str, Any]]) -> None:
    seen = mounted("full")
    assert seen.pop("enrol").startswith("StorageFullError")
    assert seen.pop("enrolled") == seen.pop("found") > 0
    assert seen == {"wrong": [], "search while full": "", "enrol with room": "", "erase with room": ""}


def test_a_disk_that_is_read_only(mounted: Callable[[str], dict[str, Any]]) -> None:
    seen = mounted("readonly")
    assert "mount it for writing" in seen.pop("ro")
    assert "needs a folder to read and write" in seen.pop("new, ro")
    assert seen == {"before": "", "rw": "", "new, rw": ""}
