"""A process killed, or a machine without power, at every call that changes a file: nothing lost, mixed or left over.

FACESERVE_TEST_CRASHES=1000 for the long version: so many rounds at random, and every deed at every call, not only where
one kind of call follows another, and at every fourth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gallery.local.faults import tracing

ROOT = Path(__file__).resolve().parents[4]
CRASHES = int(os.environ.get("FACESERVE_TEST_CRASHES", "20"))
SHORT = ("enrol", "erase", "snapshot")
LONG = ("expire", "enrol more", "erase face", "erase collection") if CRASHES > 100 else ()
STEP = "1" if CRASHES > 100 else "0"

if reason := tracing.why_not():
    pytestmark = pytest.mark.skip(reason=reason)


@contextmanager
def endings(folder: Path, build: str, *what: str) -> Iterator[Iterator[dict[str, Any]]]:
    """What `dying.py` says, as it says it."""
    command = [sys.executable, "-m", "tests.gallery.local.faults.dying", str(folder), build, *what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout
        try:
            yield (json.loads(line) for line in process.stdout)
        finally:
            process.kill()


@pytest.mark.parametrize("deed", [*SHORT, *LONG])
def test_cut_short_wherever_its_calls_turn_to_something_else_it_is_whole(tmp_path: Path, deed: str) -> None:
    with endings(tmp_path, "honest", deed, STEP) as all_of_them:
        seen = list(all_of_them)
    assert [ending for ending in seen if ending["wrong"]] == []
    assert seen[-1]["ended"]
    assert {ending["acknowledged"] for ending in seen if ending["how"] == "kill" and not ending["ended"]} == {
        True,
        False,
    }
    assert {ending["at"].partition(" ")[0] for ending in seen} >= {"pwrite64", "fdatasync", "unlink"}
    assert deed != "snapshot" or "rename" in {ending["at"] for ending in seen}
    assert sum(ending["how"] == "power" for ending in seen) > 5


@pytest.mark.parametrize(
    ("build", "deed", "step"),
    [("honest", "expire", "9"), ("encrypted", "enrol", "9"), ("encrypted", "erase", "9"), ("turning", "encrypt", "17")],
)
def test_at_many_of_its_calls_and_with_a_key_where_nothing_is_readable(
    tmp_path: Path, build: str, deed: str, step: str
) -> None:
    with endings(tmp_path, build, deed, "1" if CRASHES > 100 else step) as all_of_them:
        seen = list(all_of_them)
    assert [ending for ending in seen if ending["wrong"]] == []
    assert seen[-1]["ended"]
    assert {ending["acknowledged"] for ending in seen if not ending["ended"]} >= {False}
    assert len(seen) > 6


def test_cut_short_at_random_it_is_whole(tmp_path: Path) -> None:
    with endings(tmp_path, "honest", "random", str(CRASHES), "1") as all_of_them:
        seen = list(all_of_them)
    assert [(number, ending) for number, ending in enumerate(seen) if ending["wrong"]] == []
    assert len(seen) == CRASHES


def test_the_checkers_convict_broken_builds(tmp_path: Path) -> None:
    cases = [
        "early,enrol,kill,loss",
        "unsynced,enrol,power,loss",
        "halves,enrol,kill,loss",
        "unfollowed,enrol,kill,consistency",
        "unwiped,erase,kill,leak",
        "unpromised,erase,kill,leak",
    ]
    command = [sys.executable, "-m", "tests.gallery.local.faults.dying", str(tmp_path), "convict", *cases]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, check=True)
    assert dict(zip(cases, json.loads(done.stdout), strict=True)) == dict.fromkeys(cases, True)
