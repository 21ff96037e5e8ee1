"""Many at once: every answer is one that a serial order could have given.

FACESERVE_TEST_CONSISTENCY_S=120 for the long version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gallery.local.faults.serial import Read, Write, violations

ROOT = Path(__file__).resolve().parents[4]
SECONDS = os.environ.get("FACESERVE_TEST_CONSISTENCY_S", "2")

# Two cells, a with the writes a1 (10 to 20), None (40 to 50), a2 (60 to 70), b with b1 (30 to 45).
WRITES = [Write("a", "a1", 10, 20), Write("a", None, 40, 50), Write("a", "a2", 60, 70), Write("b", "b1", 30, 45)]


def read(begin: int, end: int, a: str | None, b: str | None, writer: int | None = None) -> Read:
    return Read({"a": a, "b": b}, begin, end, writer)


@pytest.mark.parametrize(
    "reads",
    [
        [read(0, 5, None, None)],
        [read(0, 15, None, None), read(0, 15, "a1", None)],  # while it is written either will do
        [read(21, 29, "a1", None), read(35, 36, "a1", "b1"), read(46, 59, None, "b1")],
        [read(35, 42, "a1", None), read(43, 44, None, None), read(43, 44, None, "b1")],
        [read(0, 100, "a1", None), read(0, 100, None, "b1"), read(0, 100, "a2", "b1")],
        [read(61, 65, "a2", "b1"), read(62, 66, None, "b1")],
    ],
)
def test_what_a_serial_order_could_have_given_is_let_pass(reads: list[Read]) -> None:
    assert violations(WRITES, reads) == []


@pytest.mark.parametrize(
    ("reads", "finding"),
    [
        ([read(21, 29, "b1", None)], "mislabelled"),
        ([read(0, 5, "a1", None)], "not yet written"),
        ([read(21, 29, None, None)], "stale"),
        ([read(51, 55, "a1", "b1")], "stale"),
        ([read(21, 29, None, None, writer=0)], "its own write is missing"),
        ([read(11, 13, "a1", None), read(14, 16, None, None)], "back in time"),
        ([read(41, 44, None, None), read(41, 44, "a1", "b1")], "torn"),
        ([read(15, 65, "a2", None)], "torn"),  # b1 was over before a2 began
    ],
)
def test_what_none_could_have_given_is_found(reads: list[Read], finding: str) -> None:
    assert {each.partition(":")[0] for each in violations(WRITES, reads)} == {finding}


def crowd(folder: Path, seconds: str, *builds: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.gallery.local.faults.crowd", str(folder), seconds, *builds]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_eight_writers_and_eight_readers_of_four_processes(tmp_path: Path) -> None:
    (seen,) = crowd(tmp_path, SECONDS, "honest")
    assert (seen["wrong"], seen["first"], seen.get("differences", 0)) == (0, [], 0)
    assert seen["written"] > 5
    assert seen["reads"] > 100


def test_the_checker_convicts_broken_builds(tmp_path: Path) -> None:
    expected = {"remembers": {"stale", "its own write is missing"}, "one by one": {"torn"}, "mixes up": {"mislabelled"}}
    seen = crowd(tmp_path, "0.7", *expected)
    for each, findings in zip(seen, expected.values(), strict=True):
        assert {*each["kinds"]} >= findings
