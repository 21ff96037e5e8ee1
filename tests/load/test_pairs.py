"""`faceserve bench pairs`: whom a pair recognises, by hand-computed cosines, and once on the sample photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.bench.pairs.people import Photo, read_people
from app.bench.pairs.recognition import recognised
from app.bench.processes import BenchError

HEADER = "photo,least,most,who,enroll\n"
ALICE, BOB = (1.0, 0.0), (0.0, 1.0)


def photo(name: str, *who: str, least: int = 1, most: int = 1, enroll: bool = False) -> Photo:
    return Photo(name, b"", least, most, frozenset(who), enroll)


def faces(*rows: tuple[float, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, np.float32).reshape(len(rows), 2)


PHOTOS = [
    photo("a", "alice", enroll=True),
    photo("b", "bob", enroll=True),
    photo("both", "alice", "bob", least=2, most=3),
    photo("stranger"),
]
FOUND = {"a": faces(ALICE), "b": faces(BOB), "both": faces((0.6, 0.8), (0.8, 0.6)), "stranger": faces((0.28, -0.96))}


def test_people_are_named_and_strangers_are_not() -> None:
    told = recognised(PHOTOS, FOUND, threshold=0.7)
    assert (told.photos_right, told.photos, told.expected, told.recalled, told.false_names) == (4, 4, 2, 2, 0)
    assert told.worst_same == pytest.approx(0.8)
    assert told.best_other == pytest.approx(0.6)  # each of the two in the other's eyes


def test_a_low_threshold_names_the_wrong_and_a_high_one_nobody() -> None:
    assert recognised(PHOTOS, FOUND, threshold=0.28).false_names == 3
    assert recognised(PHOTOS, FOUND, threshold=0.9).recalled == 0


def test_without_a_threshold_the_middle_is_taken() -> None:
    told = recognised(PHOTOS, FOUND, threshold=None)
    assert told.halfway
    assert told.threshold == pytest.approx(0.7)


def test_a_face_that_is_not_found_is_not_recalled() -> None:
    told = recognised(PHOTOS, FOUND | {"both": faces()}, threshold=0.7)
    assert (told.photos_right, told.recalled, told.worst_same) == (3, 0, -1)
    told = recognised(PHOTOS, FOUND | {"a": faces()}, threshold=0.7)
    assert (told.photos_right, told.recalled) == (3, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("p.jpg,1,1,alice,", "nobody is enrolled as alice"),
        ("p.jpg,1,1,,", "nobody is enrolled as anyone"),
        ("p.jpg,one,1,,", "line 2"),
        ("p.jpg,2,1,,", "line 2"),
        ("p.jpg,1,1,alice;bob,", "line 2"),
        ("p.jpg,1,2,alice,yes", "line 2"),
        ("missing.jpg,1,1,,", "missing.jpg"),
        ("p.jpg,1", "line 2"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "p.jpg").write_bytes(b"")
    table = tmp_path / "people.csv"
    table.write_text(HEADER + rows)
    with pytest.raises(BenchError, match=message):
        read_people(table, tmp_path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("photo,name\n")
    with pytest.raises(BenchError, match="expected photo,least"):
        read_people(tmp_path / "people.csv", tmp_path)


def test_the_shipped_pair_recognises_the_samples(tmp_path: Path, samples: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text(
        HEADER + "astronaut.jpg,1,1,Eileen Collins,yes\ngrace_hopper.jpg,1,1,Grace Hopper,yes\n"
        "group.jpg,2,2,Eileen Collins;Grace Hopper,\n"
    )
    flags = ["--photos", str(samples), "--out", str(tmp_path / "out"), "--rounds", "1"]
    command = [sys.executable, "-m", "app.cli", "bench", "pairs", str(table), *flags]
    done = subprocess.run(command, cwd=samples.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "out" / "pairs.json").read_text())["pairs"]["rows"]
    assert (row["recalled"], row["expected"], row["false_names"], row["photos_right"]) == (2, 2, 0, 3)
    assert row["worst_same"] > row["threshold"] > row["best_other"]
